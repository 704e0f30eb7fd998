# First, so that the tests' `import timm` and `import torchvision` take no more than they use.
import affinitynet.networks.backbones  # noqa: F401
