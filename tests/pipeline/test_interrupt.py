import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from pipeline.run.interrupt import interruptible


def test_an_interrupt_arrives_with_its_one_argument():
    before = signal.getsignal(signal.SIGINT)

    def interrupted():
        with interruptible(lambda: None):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)

    with pytest.raises(KeyboardInterrupt, match="interrupted"):
        interrupted()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_deep_in_native_code_is_ended_after_its_last_words():
    program = """
        import hashlib, socket
        from pipeline.run.interrupt import interruptible
        socket.setdefaulttimeout(0.1)  # as a library may
        with interruptible(lambda: print("last words", flush=True)):
            print("ready", flush=True)
            hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes without a bytecode
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert process.stdout.read() == "last words\n"


def test_an_interrupt_in_a_destructor_is_no_traceback():
    """Python drops an exception there, and would print it; the thread ends the process all the same."""
    program = """
        import os, signal, time
        from pipeline.run.interrupt import interruptible
        class Interrupted:
            def __del__(self):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.1)
        class Failing:
            def __del__(self):
                raise ValueError("another one")
        with interruptible(lambda: print("last words", flush=True)):
            Failing()
            Interrupted()
            time.sleep(60)
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=30
    )
    assert (process.returncode, process.stdout) == (130, "last words\n")
    assert process.stderr.splitlines()[-1] == "ValueError: another one"
    assert "KeyboardInterrupt" not in process.stderr
