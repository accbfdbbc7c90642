"""The same networks and the same critic loss in PyTorch, for the benchmarks to compare with.

PyTorch is for these comparisons only: pip install torch==2.13.0
"""

import contextlib
import os

import click
import keras
import numpy as np
from timing import cores


def load():
    """PyTorch, using all cores."""
    # Threads that spin while they wait for others make it several times slower on a busy machine;
    # OMP_WAIT_POLICY=active in the environment is PyTorch's own way, for an idle one.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        import torch
    except ImportError as error:
        raise click.ClickException(
            "This compares with PyTorch. Get it by: pip install torch==2.13.0"
        ) from error
    with contextlib.suppress(RuntimeError):  # it has been set already
        torch.set_num_threads(cores())
    return torch


def mlp(model):
    """A Keras MLP of ReLU layers and a linear score, with the same weights."""
    torch = load()
    layers = []
    for dense in (layer for layer in model.layers if isinstance(layer, keras.layers.Dense)):
        linear = torch.nn.Linear(*dense.kernel.shape)
        _copy(linear.weight, dense.kernel.numpy().T)
        _copy(linear.bias, dense.bias)
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def dcgan_critic(model):
    """`kgl.models.dcgan_critic` with the same weights, for images mirrored in both axes.

    A stride of 2 over an even side pads by 1 before and 2 after in Keras, and by 2 and 1 in
    PyTorch's `padding=2`. On the mirrored image the two are the same, without a pass that pads.
    """
    torch = load()
    layers, shape = [], None
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = layer.kernel.numpy()
            conv = torch.nn.Conv2d(*kernel.shape[2:], 5, stride=2, padding=2)
            _copy(conv.weight, kernel[::-1, ::-1].transpose(3, 2, 0, 1))
            _copy(conv.bias, layer.bias)
            layers += [conv, torch.nn.LeakyReLU(0.2)]
            shape = layer.output.shape[1:]
        elif isinstance(layer, keras.layers.Dense):
            kernel = layer.kernel.numpy().reshape(shape)[::-1, ::-1].transpose(2, 0, 1)
            linear = torch.nn.Linear(kernel.size, 1)
            _copy(linear.weight, kernel.reshape(1, -1))
            _copy(linear.bias, layer.bias)
            layers += [torch.nn.Flatten(), linear]
    return torch.nn.Sequential(*layers)


def dcgan_generator(model):
    """`kgl.models.dcgan_generator` with the same weights; its images are mirrored, as above."""
    torch = load()
    core = next(x for x in model.layers if isinstance(x, keras.layers.Reshape)).target_shape
    layers = []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            kernel = layer.kernel.numpy().reshape(-1, *core)[:, ::-1, ::-1].transpose(3, 1, 2, 0)
            linear = torch.nn.Linear(kernel.shape[-1], np.prod(core), bias=False)
            _copy(linear.weight, kernel.reshape(-1, kernel.shape[-1]))
            layers.append(linear)
        elif isinstance(layer, keras.layers.BatchNormalization):
            kind = torch.nn.BatchNorm2d if len(layers) > 1 else torch.nn.BatchNorm1d
            layers.append(kind(layer.gamma.shape[0], eps=1e-3, momentum=0.01))
        elif isinstance(layer, keras.layers.ReLU):
            layers.append(torch.nn.ReLU())
        elif isinstance(layer, keras.layers.Reshape):
            layers.append(torch.nn.Unflatten(1, (core[2], core[0], core[1])))
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            kernel = layer.kernel.numpy()[::-1, ::-1].transpose(3, 2, 0, 1)
            conv = torch.nn.ConvTranspose2d(
                *kernel.shape[:2], 5, stride=2, padding=2, output_padding=1, bias=layer.use_bias
            )
            _copy(conv.weight, kernel)
            if layer.use_bias:
                _copy(conv.bias, layer.bias)
            layers.append(conv)
    return torch.nn.Sequential(*layers, torch.nn.Tanh())


def images(x):
    """Keras' images as PyTorch's: channels first, mirrored in both axes."""
    return load().from_numpy(
        np.ascontiguousarray(np.asarray(x)[:, ::-1, ::-1].transpose(0, 3, 1, 2))
    )


def adam(model):
    """Adam as the package has it, in PyTorch's fastest form."""
    return load().optim.Adam(model.parameters(), 1e-4, (0.5, 0.9), eps=1e-7, fused=True)


def wgan_gp_loss(critic, real, fake, epsilon, one_sided=False):
    """Loss of the critic of WGAN-GP with the penalty 10."""
    torch = load()
    x = (epsilon * real + (1 - epsilon) * fake).requires_grad_()
    (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
    return _loss(critic(real), critic(fake), gradient, one_sided)


def critic_step(critic, one_sided=False, compiled=False):
    """One update of the critic: (real, fake, epsilon) -> loss."""
    torch = load()
    optimizer = adam(critic)
    parameters = dict(critic.named_parameters())

    def functional_loss(parameters, real, fake, epsilon):
        # The compiler takes no second derivative through autograd.grad, but through torch.func.
        def scores(x):
            return torch.func.functional_call(critic, parameters, (x,))

        gradient = torch.func.grad(lambda x: scores(x).sum())(epsilon * real + (1 - epsilon) * fake)
        return _loss(scores(real), scores(fake), gradient, one_sided)

    gradients_and_loss = torch.compile(torch.func.grad_and_value(functional_loss))

    def step(real, fake, epsilon):
        if compiled:
            with torch.no_grad():
                gradients, loss = gradients_and_loss(parameters, real, fake, epsilon)
            for name, parameter in parameters.items():
                # The fused optimizer takes a gradient in its parameter's layout in memory only.
                gradient = gradients[name]
                if gradient.stride() != parameter.stride():
                    gradient = torch.empty_like(parameter).copy_(gradient)
                parameter.grad = gradient
        else:
            optimizer.zero_grad()
            loss = wgan_gp_loss(critic, real, fake, epsilon, one_sided)
            loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _loss(real_scores, fake_scores, gradient, one_sided):
    excess = gradient.flatten(1).norm(dim=1) - 1
    if one_sided:
        excess = excess.relu()
    return 10 * excess.square().mean() - real_scores.mean() + fake_scores.mean()


def _copy(parameter, values):
    torch = load()
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.array(values, "float32")))
