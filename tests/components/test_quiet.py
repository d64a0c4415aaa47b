import os

from components.quiet import quietly


def test_noise_is_dropped_and_the_rest_is_passed_on(capfd):
    with quietly():
        os.write(2, b"I0000 oneDNN custom operations are on.\nsomething is wrong\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "something is wrong\nafterwards\n"


def test_what_was_written_before_a_failure_is_passed_on(capfd):
    try:
        with quietly():
            os.write(2, b"the cause\n")
            raise ValueError
    except ValueError:
        pass
    assert capfd.readouterr().err == "the cause\n"
