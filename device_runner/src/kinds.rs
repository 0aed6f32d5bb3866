//! The kinds of workloads that this runner runs. A further kind is a type that implements `Order`, and a line in the list.

use charsiug2p_g2p_pipeline::GenerationOrder;
use charsiug2p_workload::{Failure, Order, Planned};
use serde::Deserialize;

use crate::input::Input;
use crate::language::LanguageOrder;
use crate::tensor::TensorOrder;

/// Makes an enum of the list, which serde reads by an order's `kind`: the variant's name in snake case.
macro_rules! kinds {
    ($($kind:ident($order:ty),)+) => {
        /// A model of the archive, of one of the kinds that this runner runs.
        #[derive(Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        pub enum OrderedWorkload {
            $($kind($order),)+
        }

        impl OrderedWorkload {
            pub fn name(&self) -> &str {
                match self {
                    $(Self::$kind(order) => order.name(),)+
                }
            }

            /// Checks it with its items, ids and inputs.
            pub fn plan(self, items: Vec<(String, Input)>) -> Result<Planned, Failure> {
                match self {
                    $(Self::$kind(order) => plan(order, items),)+
                }
            }
        }
    };
}

kinds! {
    Tensor(TensorOrder),
    Generation(GenerationOrder),
    Language(LanguageOrder),
}

fn plan<O: Order>(order: O, items: Vec<(String, Input)>) -> Result<Planned, Failure>
where
    O::Input: TryFrom<Input, Error = &'static str>,
{
    let taken = |(id, input): (String, Input)| match O::Input::try_from(input) {
        Ok(input) => Ok((id, input)),
        Err(needed) => Err(Failure::bad_item(&id, &format!("its workload takes {needed}"))),
    };
    let items = items.into_iter().map(taken).collect::<Result<_, _>>()?;
    order.plan(items)
}
