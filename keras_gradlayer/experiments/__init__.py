"""Small experiments that show the point of a method, each in a file of its own."""

from keras_gradlayer.experiments import (
    dualing,
    methods,
    mode_collapse,
    streamlines,
    vanishing_gradients,
)

EXPERIMENTS = {
    "streamlines": streamlines.run,
    "vanishing_gradients": vanishing_gradients.run,
    "methods": methods.run,
    "mode_collapse": mode_collapse.run,
    "dualing": dualing.run,
}
