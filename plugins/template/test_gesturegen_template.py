from gesturegen_cli.testing import check_audio_encoder
from gesturegen_template import TemplateEncoder


def test_it_conforms():
    check_audio_encoder(TemplateEncoder(TemplateEncoder.Config()))
