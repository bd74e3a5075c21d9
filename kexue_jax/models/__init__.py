"""Networks as pairs of pure functions; the only place that imports flax."""

from kexue_jax.models.classifier import ClassifierOutput, image_classifier
from kexue_jax.models.functional import Model, functional
from kexue_jax.models.gan import gan_critic, gan_generator, leaky_perceptron
from kexue_jax.models.position_embedding import HierarchicalPositionEmbedding
from kexue_jax.models.rnn import RecurrentCell
from kexue_jax.models.ssm_stack import SsmStack, ssm_stack
from kexue_jax.models.transformer import transformer
from kexue_jax.models.unet_paper import unet_paper
from kexue_jax.models.unet_small import unet_small
from kexue_jax.models.vae import Vae, vae

__all__ = [
    "Model",
    "functional",
    "unet_small",
    "unet_paper",
    "ClassifierOutput",
    "image_classifier",
    "gan_critic",
    "gan_generator",
    "leaky_perceptron",
    "transformer",
    "RecurrentCell",
    "SsmStack",
    "ssm_stack",
    "HierarchicalPositionEmbedding",
    "Vae",
    "vae",
]
