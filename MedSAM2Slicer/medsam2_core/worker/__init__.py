"""The worker process and the protocol it speaks on stdin and stdout; only `backend` and `memory` import torch."""
