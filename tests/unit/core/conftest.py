import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def _one_thread():
    """Tiny tensors gain nothing from threads, which wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
