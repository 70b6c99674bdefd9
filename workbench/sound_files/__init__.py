"""Sound files as people have them: one reader for all of them.

What libsndfile reads (WAV, FLAC, MP3, Ogg, AIFF, AU and more) is read; what has no header is, once it is
said what it holds; of the rest it is said what it is and what converts it. A header that does not
tell the truth is not believed: :mod:`workbench.sound_files.headers`.
"""

from workbench.sound_files.headerless import Encoding as Encoding
from workbench.sound_files.reader import Sound as Sound
from workbench.sound_files.reader import naming as naming
from workbench.sound_files.reader import read as read

__all__ = ["Encoding", "Sound", "naming", "read"]
