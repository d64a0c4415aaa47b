"""What a worker process imports first, as a plugin of Beam: TensorFlow, without its chatter."""

from pipeline.run.libraries import import_tensorflow, silence_libraries

silence_libraries()
import_tensorflow()
