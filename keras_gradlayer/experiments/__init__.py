"""Small experiments that show the point of a method, each in a file of its own."""

from keras_gradlayer.experiments import streamlines

EXPERIMENTS = {"streamlines": streamlines.run}
