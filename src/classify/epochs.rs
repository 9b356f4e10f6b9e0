//! The epochs of a run, as a table.

use serde_json::{Value, json};

/// What an epoch ended with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Epoch {
    /// From 1.
    pub number: usize,
    /// Mean loss of its steps.
    pub training_loss: f64,
    /// Mean loss of the validation clips.
    pub validation_loss: f64,
    /// Share of them whose class comes first.
    pub accuracy: f64,
    /// Share of them whose class is among the first three.
    pub top3: f64,
    /// How long it took, evaluation included.
    pub seconds: f64,
}

impl Epoch {
    /// As an object with the names of the fields.
    pub fn to_json(&self) -> Value {
        json!({
            "epoch": self.number, "training_loss": self.training_loss, "validation_loss": self.validation_loss,
            "accuracy": self.accuracy, "top3": self.top3, "seconds": self.seconds,
        })
    }

    /// The epoch that [`Epoch::to_json`] wrote.
    pub fn from_json(json: &Value) -> Option<Epoch> {
        let number = |name: &str| json[name].as_f64();
        Some(Epoch {
            number: json["epoch"].as_u64()? as usize,
            training_loss: number("training_loss")?,
            validation_loss: number("validation_loss")?,
            accuracy: number("accuracy")?,
            top3: number("top3")?,
            seconds: number("seconds")?,
        })
    }

    /// Heading of the lines that [`Epoch::to_line`] gives.
    pub const HEADING: &str = "epoch  training loss  validation loss  accuracy  top-3  seconds";

    /// A line of the table.
    pub fn to_line(&self) -> String {
        format!(
            "{:>5}  {:>13.4}  {:>15.4}  {:>8.3}  {:>5.3}  {:>7.1}",
            self.number, self.training_loss, self.validation_loss, self.accuracy, self.top3, self.seconds
        )
    }
}
