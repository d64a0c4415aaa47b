"""The address of MLflow's UI is told when it answers, and is that of the experiment."""

import http.server
import json
import threading
import urllib.parse

import pytest

from pipeline.tracking import ui


@pytest.fixture
def server():
    """Answers as MLflow's does, for one experiment."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            address = urllib.parse.urlparse(self.path)
            known = urllib.parse.parse_qs(address.query) == {"experiment_name": ["größe & co"]}
            known = known and address.path == "/api/2.0/mlflow/experiments/get-by-name"
            self.send_response(200 if known else 404)
            self.end_headers()
            self.wfile.write(json.dumps({"experiment": {"experiment_id": "12"}} if known else {}).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_the_experiment_s_runs_are_opened(server):
    assert ui.experiment_url(server, "größe & co") == f"http://127.0.0.1:{server}/#/experiments/12/runs"


def test_without_the_experiment_it_is_the_home(server):
    assert ui.experiment_url(server, "other") == f"http://127.0.0.1:{server}"


def test_nobody_is_waited_for_for_ever():
    assert ui.experiment_url(9, "any", seconds=0.3) == ""


@pytest.mark.parametrize(("wanted", "opened"), [(True, 1), (False, 0), (None, 0)])
def test_it_is_told_once_it_answers_and_opened_on_wish(server, monkeypatch, capfd, tmp_path, wanted, opened):
    pages = []
    told = threading.Event()
    monkeypatch.setattr(ui.webbrowser, "open", lambda url: pages.append(url))
    monkeypatch.setattr(ui, "ui_command", lambda uri, port: (["true"], {}))
    monkeypatch.setattr(ui, "check_port", lambda port, option: None)
    tell = ui._tell
    monkeypatch.setattr(ui, "_tell", lambda *given: (tell(*given), told.set()))
    monkeypatch.setattr(ui, "run_until_ended", lambda command, environment: told.wait(30) and 0)
    assert ui.show_ui("sqlite:///x.db", "größe & co", server, wanted) == 0
    out = capfd.readouterr().out.splitlines()
    assert out == [
        "MLflow is starting (Ctrl-C ends it)",
        f"größe & co: http://127.0.0.1:{server}/#/experiments/12/runs",
    ]
    assert len(pages) == opened
