"""The worker process and the protocol it speaks on stdin and stdout; only `backend` imports torch."""
