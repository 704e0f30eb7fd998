"""A training loop that loses one of its processes."""

import os
import signal

import torch


def count_epochs(ranks, deaths, epoch):
    """Count up to 4; each time that epoch 3 is reached, the process of the next rank is killed.

    The file `deaths` has a letter for each time.
    """
    victims = [*ranks, None][len(deaths.read_text()) :]
    torch.distributed.barrier()  # all have read the file
    while epoch < 4:
        epoch += 1
        if epoch == 3 and torch.distributed.get_rank() == victims[0]:
            with deaths.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        torch.distributed.barrier()
        yield epoch
