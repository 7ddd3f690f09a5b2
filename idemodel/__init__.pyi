# The public names of idemodel, once: read by type checkers, and at run time to load each from its module when used.
from .evaluation.scoring import Evaluation as Evaluation
from .evaluation.scoring import EvaluationSettings as EvaluationSettings
from .evaluation.scoring import evaluate as evaluate
from .faces.alignment import Eyes as Eyes
from .files.images import read_colour as read_colour
from .files.images import read_grey as read_grey
from .files.images import write_image as write_image
from .generator.enhance import Enhancer as Enhancer
from .generator.weights import PHANTOM as PHANTOM
from .phantom.pairs import PhantomPair as PhantomPair
from .phantom.pairs import phantom_pairs as phantom_pairs
from .preparation import PhotoPreparer as PhotoPreparer
from .preparation import PreparationSettings as PreparationSettings
from .preparation import PreparedPhoto as PreparedPhoto
from .preparation import read_photo as read_photo
from .sketcher import Sketcher as Sketcher
from .sketcher import Sketches as Sketches
