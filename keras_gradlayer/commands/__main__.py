"""`python -m keras_gradlayer.commands` is `keras-gradlayer`."""

from keras_gradlayer.commands import main

main()
