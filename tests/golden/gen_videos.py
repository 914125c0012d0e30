"""Part `videos`: which frames of a video are read, and the text around them.

videos.json: what SmolVLMVideoProcessor.sample_frames and SmolVLMProcessor.replace_video_token make of frame counts and
rates, and num2words of numbers. No pixels: a frame is treated as a picture with splitting off (part `images`).
"""
import random
from types import SimpleNamespace

import numpy as np
from num2words import num2words
from transformers.models.smolvlm import processing_smolvlm as processing
from transformers.models.smolvlm.video_processing_smolvlm import SmolVLMVideoProcessor
from transformers.utils.chat_template_utils import render_jinja_template
from transformers.video_utils import VideoMetadata

import common

IN_WORDS = 20000  # numbers from 0, by hash
SPELLED_OUT = 12  # longest list of frames that is stored; above it, as a count and a hash
RULE = SimpleNamespace(num_frames=64, fps=1)
CASES = [  # pictures, pictures a second, frames asked of a second, most frames
    (1, 1, 1, 64), (2, 1, 1, 64), (9, 1, 1, 64), (9, 2, 1, 64), (9, 24, 1, 64), (64, 1, 1, 64), (65, 1, 1, 64),
    (66, 1, 1, 64), (67, 1, 1, 64), (68, 1, 1, 64), (1000, 1, 1, 64), (240, 24, 1, 64), (100000, 29.97, 1, 64),
    (5, 0.5, 1, 64), (5, 0.5, 2, 64), (3, 2, 1, 64), (5, 2, 1, 64), (300, 30, 1, 1), (300, 30, 1, 2), (300, 30, 0.5, 8),
    (7, 1, 3, 64), (4, 1000, 1, 64), (90000, 1000, 1, 3), (20, 0.001, 1, 9)]
PROMPTS = [(9, 1, 1, 64), (1, 1, 1, 64), (3, 0.01, 1, 64), (300, 30, 1, 4), (90000, 0.5, 1, 2), (7300, 1, 1, 3)]


def metadata(total, video_fps):
    return VideoMetadata(total_num_frames=total, fps=video_fps, duration=total / video_fps)


def frames(total, video_fps, fps, most):
    found = SmolVLMVideoProcessor.sample_frames(RULE, metadata(total, video_fps), num_frames=most, fps=fps)
    return [int(i) for i in found]


def sampling():
    draw = random.Random(common.SEED)
    cases = CASES + [(draw.randrange(1, 10 ** draw.randrange(1, 6)), draw.choice([0.25, 1, 2, 10, 23.976, 24, 25, 30, 59.94]),
                      draw.choice([0.1, 0.5, 1, 1, 1, 2, 5]), draw.choice([1, 2, 8, 50, 64, 64, 64, 200]))
                     for _ in range(600)]
    out = []
    for case in cases:
        found = frames(*case)
        out.append({"case": list(case), "count": len(found),
                    **({"frames": found} if len(found) <= SPELLED_OUT
                       else {"sha256": common.sha256(np.asarray(found, "<i4").tobytes())})})
    return out


def prompt(case):
    """The prompt of a video and a question, one `<image>` a frame."""
    shape = metadata(*case[:2])
    shape.frames_indices = frames(*case)
    names = SimpleNamespace(image_seq_len=1, image_token="<image>", fake_image_token="<fake_token_around_image>",
                            global_image_token="<global-img>")
    pixels = np.zeros((1, len(shape.frames_indices), 1))
    text = processing.SmolVLMProcessor.replace_video_token(names, {"pixel_values": pixels, "video_metadata": [shape]}, 0)
    messages = [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What happens?"}]}]
    rendered, _ = render_jinja_template([messages], chat_template=processing.DEFAULT_CHAT_TEMPLATE,
                                        add_generation_prompt=True)
    return {"case": list(case), "text": rendered[0].replace("<video>", text)}


def generate():
    words = "\n".join(num2words(n) for n in range(IN_WORDS))
    common.write_json("videos.json", {"numbers_in_words": IN_WORDS, "numbers_sha256": common.sha256(words.encode()),
                                      "sampling": sampling(), "prompts": [prompt(case) for case in PROMPTS]})
