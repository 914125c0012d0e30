"""Writes what the tiny reader starts from: config.json, tokenizer and processor files; its weights are drawn at random.

    python3 make_folder.py FOLDER         needs: pip install tokenizers

The tokenizer is byte-level BPE whose merges are learned from the questions, in which words are in small letters; what is
printed in pictures is in capitals and digits, so answers are spelt character by character.
"""
import json
import pathlib
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

FOLDER = pathlib.Path(sys.argv[1])
TILE, EDGE, PATCH, SHUFFLE = 64, 192, 8, 2
LARGEST_GRID = 6  # position tokens up to <row_6_col_6>, as the released models have

QUESTIONS = ["Read all the text.", "Map the characters.", "What is the serial number?", "What number is shown?",
             "How much is the total?", "How much is the ", "What is the name of the shop?", "What is written in line ",
             "What is written in row ", ", column ", "Where is ", " written?", "row ", "User:", "User: ", "Assistant:"]

CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")


def write(name, value):
    (FOLDER / name).write_text(json.dumps(value, indent=2, ensure_ascii=True) + "\n")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    first = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer.train_from_iterator(QUESTIONS, trainers.BpeTrainer(
        vocab_size=3 + 256 + 200, min_frequency=1, special_tokens=first, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.add_special_tokens(
        ["<global-img>"] + [f"<row_{r}_col_{c}>" for r in range(1, LARGEST_GRID + 1) for c in range(1, LARGEST_GRID + 1)]
        + ["<fake_token_around_image>", "<image>", "<end_of_utterance>"])
    tokenizer.save(str(FOLDER / "tokenizer.json"))

    names = {"bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>", "pad_token": "<|im_end|>",
             "unk_token": "<|endoftext|>"}
    image_tokens = (TILE // PATCH // SHUFFLE) ** 2
    write("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 2048,
                                    "clean_up_tokenization_spaces": False, **names})
    write("special_tokens_map.json", names)
    write("chat_template.json", {"chat_template": CHAT_TEMPLATE})
    write("processor_config.json", {"image_seq_len": image_tokens, "processor_class": "SmolVLMProcessor"})
    write("preprocessor_config.json", {
        "do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True, "do_rescale": True,
        "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "image_processor_type": "SmolVLMImageProcessor", "max_image_size": {"longest_edge": TILE},
        "processor_class": "SmolVLMProcessor", "resample": 1, "rescale_factor": 1 / 255, "size": {"longest_edge": EDGE}})
    stop = tokenizer.token_to_id("<end_of_utterance>")
    write("generation_config.json", {"bos_token_id": 1, "eos_token_id": stop, "pad_token_id": 2})
    write("config.json", {
        "architectures": ["SmolVLMForConditionalGeneration"], "model_type": "smolvlm", "dtype": "float16",
        "image_token_id": tokenizer.token_to_id("<image>"), "scale_factor": SHUFFLE, "tie_word_embeddings": True,
        "pad_token_id": 2,
        "vision_config": {"model_type": "smolvlm_vision", "hidden_size": 128, "intermediate_size": 384,
                          "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": TILE, "patch_size": PATCH},
        "text_config": {"model_type": "llama", "vocab_size": (tokenizer.get_vocab_size() + 7) // 8 * 8,
                        "hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 4,
                        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048,
                        "rope_theta": 10000.0, "rms_norm_eps": 1e-5, "bos_token_id": 1, "eos_token_id": stop,
                        "pad_token_id": 2, "tie_word_embeddings": True}})


main()
