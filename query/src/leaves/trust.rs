//! Which indexers do not believe this node, by their latest answers. Told in the log when it begins and when it ends, and to
//! probes for as long as it lasts.

use super::LeafAnswer;
use millrace_store::LeafError;
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

/// See the module.
#[derive(Debug, Default)]
pub struct Trust {
    /// What each of them says.
    doubts: Mutex<BTreeMap<String, String>>,
}

impl Trust {
    /// Takes in what all of those who were asked have answered. Who was not asked is not there any more; of who cannot be
    /// reached nothing new is known.
    pub fn learn(&self, answers: &[LeafAnswer]) {
        let mut doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        doubts.retain(|node, _| answers.iter().any(|asked| asked.node == *node));
        for LeafAnswer { node, answer, .. } in answers {
            match answer {
                Err(error @ LeafError::Disbelieved { .. }) => {
                    let problem = error.to_string();
                    if doubts.insert(node.clone(), problem).is_none() {
                        tracing::error!(node, reason = %error, "searches lack what this indexer has in memory");
                    }
                }
                Err(LeafError::Unreachable { .. }) => {}
                _ => {
                    if doubts.remove(node).is_some() {
                        tracing::info!(node, "the indexer believes this node again");
                    }
                }
            }
        }
    }

    /// What `/readyz` says of it; nothing: all is well.
    pub fn problems(&self) -> Vec<String> {
        let doubts = self.doubts.lock().unwrap_or_else(PoisonError::into_inner);
        doubts.iter().map(|(node, problem)| format!("indexer {node}: {problem}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use millrace_store::HotResponse;

    #[test]
    fn a_doubt_lasts_until_another_answer_or_until_the_node_is_gone() {
        let (trust, address) = (Trust::default(), "h:1".to_owned());
        let learn = |answers: &[(&str, Result<HotResponse, LeafError>)]| {
            let answers = answers.iter().map(|(node, answer)| LeafAnswer::at_once(node, answer.clone()));
            trust.learn(&answers.collect::<Vec<_>>());
            trust.problems()
        };
        let wrong = || Err(LeafError::Disbelieved { address: address.clone(), problem: "who?".to_owned() });
        let away = || Err(LeafError::Unreachable { address: address.clone(), problem: "away".to_owned() });
        let fine = || Ok(HotResponse::default());
        assert_eq!(learn(&[("a", fine()), ("b", away())]), [""; 0]);
        assert_eq!(learn(&[("a", wrong()), ("b", wrong())]).len(), 2);
        assert_eq!(
            learn(&[("a", away()), ("b", fine())]),
            ["indexer a: leaf h:1 does not believe this node: who?"]
        );
        assert_eq!(learn(&[("a", fine()), ("b", wrong())]).len(), 1);
        assert_eq!(learn(&[("a", fine())]), [""; 0]);
    }
}
