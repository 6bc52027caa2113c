"""The page of a transfer matrix."""

from report_pages import transfer

from rsr_tf.report.transfer_page import transfer_page


def test_page_has_every_number_with_its_interval_and_the_attacks():
    page = transfer_page(transfer(), {"resnet": "../resnet/report.html"})
    assert '50.0 <span class="interval">[43.1, 56.9]</span>' in page
    assert "step" in page
    assert "epsilon 8/255, steps 20, random start yes" in page
    assert "&lt;i&gt;resnet&lt;/i&gt;" in page


def test_images_of_another_network_that_clearly_do_better_are_pointed_out():
    assert "falls more often to images of" in transfer_page(transfer(own=0.5, other=0.2), {})
    assert "falls more often to images of" not in transfer_page(transfer(own=0.5, other=0.47), {}), "chance"
    assert "falls more often to images of" not in transfer_page(transfer(own=0.2, other=0.5), {})
