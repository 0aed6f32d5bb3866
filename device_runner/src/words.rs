//! G2P as a workload: words in batches of like lengths, decoded greedily by the pipeline that apps use.

use charsiug2p_g2p_pipeline::{PipelineError, ProbeOptions, Session};
use charsiug2p_g2p_tvm::DeviceConfig;

use crate::failure::{Failure, FailureKind};
use crate::order::{Batch, PlannedModel};
use crate::records::{nanoseconds, Output, Record};
use crate::result_file::ResultFile;
use crate::slowdown::Slowdown;
use crate::workload::{Measured, Probed, Workload};

/// A model with its batches, in the order they run.
pub struct Words {
    name: String,
    session: Session,
    batches: Vec<Batch>,
}

impl Words {
    /// Takes the model from the program, and records how long each of its functions took.
    pub fn load(
        model: &PlannedModel,
        batches: Vec<Batch>,
        result: &mut ResultFile,
    ) -> Result<Self, Failure> {
        let mut loads = Vec::new();
        let session = Session::load(
            model.config.clone(),
            &model.prefixes,
            DeviceConfig::cpu(),
            |name, took| {
                loads.push((name, took));
            },
        );
        for (function, took) in loads {
            let load_ns = nanoseconds(took);
            result.write(&Record::Load { model: &model.name, function, load_ns })?;
        }
        let session = session.map_err(|error| {
            Failure::new(FailureKind::Model, format!("model {:?}: {error}", model.name))
        })?;
        Ok(Self { name: model.name.clone(), session, batches })
    }
}

impl Workload for Words {
    fn name(&self) -> &str {
        &self.name
    }

    fn items(&self, call: usize) -> &[String] {
        &self.batches[call].items
    }

    fn run(&mut self, call: usize, slowdown: Slowdown) -> Result<Measured, Failure> {
        let batch = &self.batches[call];
        let measured = self.session.run(&batch.prompts, &ProbeOptions::default());
        let mut measured = measured.map_err(|error| blame(batch, error))?;
        slowdown.burn(&mut measured.timings);
        Ok(Measured {
            total: measured.timings.total,
            encoder: measured.timings.encoder,
            prefill: measured.timings.prefill,
            steps: measured.timings.steps,
            outputs: measured.outputs.into_iter().map(Output::from).collect(),
            output_sha256: None,
        })
    }

    fn probe(&mut self, call: usize, options: &ProbeOptions) -> Result<Probed, Failure> {
        let batch = &self.batches[call];
        let measured =
            self.session.run(&batch.prompts, options).map_err(|error| blame(batch, error))?;
        let outputs = measured.outputs.into_iter().map(Output::from).collect();
        Ok(Probed { outputs, tensors: None })
    }
}

/// Names the item whose answer cannot be one, or else all that were in the batch.
fn blame(batch: &Batch, error: PipelineError) -> Failure {
    let answered =
        error.answered().and_then(|said| batch.prompts.iter().position(|prompt| prompt == said));
    let failure = Failure::from(error);
    match (answered.and_then(|at| batch.items.get(at)), &batch.items[..]) {
        (Some(item), _) | (None, [item]) => failure.of_item(item),
        (None, items) => Failure {
            message: format!("items {}: {}", items.join(", "), failure.message),
            ..failure
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_item_without_an_answer_is_named() {
        let batch = Batch {
            model: 0,
            items: vec!["w0".into(), "w1".into()],
            prompts: vec!["one".into(), "two".into()],
        };
        let nan = |prompt: &str| PipelineError::NotFinite {
            step: 2,
            prompt: prompt.into(),
            value: "NaN".into(),
        };
        let failure = blame(&batch, nan("two"));
        assert_eq!((failure.kind, failure.item.as_deref()), (FailureKind::Answer, Some("w1")));
        let failure = blame(&batch, PipelineError::BatchSize { given: 2, batch_size: 1 });
        assert_eq!((failure.kind, failure.item), (FailureKind::Model, None));
        assert!(failure.message.starts_with("items w0, w1: "), "{}", failure.message);
    }
}
