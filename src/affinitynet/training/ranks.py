"""One batch shared out among the processes of a torch.distributed group.

A single process has rank 0 of 1, and every function here changes nothing for it.
"""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.distributed import all_reduce, get_rank, get_world_size, is_initialized
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import BatchSampler, Sampler

from affinitynet.networks.timm_parts import convert_sync_batchnorm


def rank() -> int:
    """This process's number among those that train together, from 0."""
    return get_rank() if is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return get_world_size() if is_initialized() else 1


def all_reduce_sum(share: Tensor) -> Tensor:
    """Sum the processes' shares of a count, or of a loss; of no gradient."""
    if world_size() == 1:
        return share
    total = share.detach().clone()
    all_reduce(total)
    return total


def synchronise(network: nn.Module) -> nn.Module:
    """Wrap a network so that its gradients are the mean of all processes'.

    Args:
        network: On its device, its parts in the modes that they are trained in: on CUDA, norms
            that learn their statistics are changed to see the whole batch.
    """
    if world_size() == 1:
        return network
    if next(network.parameters()).is_cuda:
        share_statistics(network)
    # Every step has the same graph, also where the network leaves out a part of its backbone.
    return DistributedDataParallel(network, static_graph=True)


def share_statistics(network: nn.Module) -> None:
    """Turn the batch norms that learn their statistics into those of the whole batch, in place."""
    for name, part in list(network.named_children()):
        if not isinstance(part, _BatchNorm):
            share_statistics(part)
        elif part.training:
            setattr(network, name, convert_sync_batchnorm(part))  # timm's: it keeps activations


class DistributedBatchSampler(Sampler[list[int]]):
    """This process's samples of each batch: all processes' together are the batch."""

    def __init__(self, batches: BatchSampler) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            yield batch[rank() :: world_size()]
