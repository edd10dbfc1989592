"""The padding of networks that come from TensorFlow."""

from torch import Tensor, nn
from torch.nn import functional


class SameConv(nn.Conv2d):
    """A convolution with n -> ceil(n / stride): where the padding is odd, the end gets more.

    Kernel and stride are square.

    >>> import torch
    >>> SameConv(3, 8, 3, stride=2)(torch.zeros(1, 3, 5, 6)).shape
    torch.Size([1, 8, 3, 3])
    """

    def forward(self, x: Tensor) -> Tensor:
        """[n, c_in, h, w] -> [n, c_out, ceil(h/stride), ceil(w/stride)]."""
        top, bottom = self._padding(x.shape[-2])
        left, right = self._padding(x.shape[-1])
        if bottom > top or right > left:
            x = functional.pad(x, (0, right - left, 0, bottom - top))
        return functional.conv2d(
            x, self.weight, self.bias, self.stride, padding=(top, left), groups=self.groups
        )

    def _padding(self, n: int) -> tuple[int, int]:
        """Zeros before and after a side of `n` pixels."""
        stride, kernel_size = self.stride[0], self.kernel_size[0]
        total = max((-(-n // stride) - 1) * stride + kernel_size - n, 0)
        return total // 2, total - total // 2
