//! What `list` and `--help` say.

use crate::workdir::Workdir;
use lossjit::losses::LOSSES;
use serde_json::{Value, json};

#[test]
fn every_loss_is_listed() {
    let dir = Workdir::new();
    let text = dir.done("list");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let listed: Value = serde_json::from_str(&dir.done("list --json")).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), LOSSES.len());
    for (entry, shown) in LOSSES.iter().zip(listed.as_array().unwrap()) {
        assert_eq!(shown["name"], entry.name);
        assert!(text.lines().any(|line| line.split(", ").next() == Some(entry.name)), "{}", entry.name);
        for parameter in (entry.parameters)() {
            assert!(text.contains(&format!(" {}={}", parameter.name, parameter.default)), "{}", entry.name);
        }
    }
}

#[test]
fn defaults_are_json_values() {
    let listed: Value = serde_json::from_str(&Workdir::new().done("list --json")).unwrap();
    let loss = listed.as_array().unwrap().iter().find(|loss| loss["name"] == "SoftmaxCrossEntropyLoss").unwrap();
    let wanted = json!({
        "name": "SoftmaxCrossEntropyLoss",
        "aliases": ["SoftmaxCELoss"],
        "inputs": [
            { "name": "pred", "optional": false },
            { "name": "label", "optional": false },
            { "name": "sample_weight", "optional": true },
            { "name": "class_weight", "optional": true },
        ],
        "parameters": [
            { "name": "axis", "default": -1 },
            { "name": "sparse_label", "default": true },
            { "name": "from_logits", "default": false },
            { "name": "weight", "default": null },
            { "name": "batch_axis", "default": 0 },
            { "name": "clip_labels", "default": false },
            { "name": "ignore_label", "default": null },
            { "name": "label_smoothing", "default": 0 },
            { "name": "z_loss", "default": 0 },
            { "name": "reduction", "default": null },
        ],
    });
    assert_eq!(*loss, wanted);
}

#[test]
fn help_has_an_example() {
    let dir = Workdir::new();
    for (command, example) in [
        ("--help", "lossjit eval L2Loss --input pred=pred.npy --input label=label.npy"),
        ("list --help", "lossjit list --json"),
        ("eval --help", "lossjit eval SoftmaxCrossEntropyLoss"),
    ] {
        assert!(dir.done(command).contains(example), "{command}");
    }
}
