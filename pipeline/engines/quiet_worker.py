"""A worker process of Beam without its chatter: what goes wrong is in the status objects of the nodes."""

import logging
import sys

if __name__ == "__main__":
    logging.getLogger().addHandler(logging.NullHandler())  # else the first message adds one to standard error

    from apache_beam.runners.worker.sdk_worker_main import main

    main(sys.argv)
