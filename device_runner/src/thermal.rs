//! The thermal state that the system reports.

use std::time::{SystemTime, UNIX_EPOCH};

use charsiug2p_workload::{nanoseconds, Failure};

use crate::readings::State;
use crate::records::Record;
use crate::result_file::ResultFile;

/// Records the state when it is first read, when it is another, and at the end.
pub struct Thermal {
    read: Box<dyn FnMut() -> Option<State>>,
    last: Option<State>,
}

impl Thermal {
    /// Reads the state of the device this runs on. Where the system reports none, nothing is recorded. `app`: whether
    /// this is an app, or its companion on the machine of a virtual iPhone.
    pub fn of_this_device(app: bool) -> Self {
        Self::new(move || if app { read() } else { None })
    }

    fn new(read: impl FnMut() -> Option<State> + 'static) -> Self {
        Self { read: Box::new(read), last: None }
    }

    /// Writes a record if the state is another than last time.
    pub fn look(&mut self, result: &mut ResultFile) -> Result<(), Failure> {
        let state = (self.read)();
        if state == self.last {
            return Ok(());
        }
        self.last = state;
        write(state, result)
    }

    /// Writes a record whatever the state is.
    pub fn close(&mut self, result: &mut ResultFile) -> Result<(), Failure> {
        self.last = (self.read)();
        write(self.last, result)
    }
}

fn write(state: Option<State>, result: &mut ResultFile) -> Result<(), Failure> {
    let Some(state) = state else { return Ok(()) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    result.write(&Record::Thermal { state, at_unix_ns: nanoseconds(now) })
}

#[cfg(all(target_os = "ios", feature = "program"))]
fn read() -> Option<State> {
    crate::apple_app::thermal_state()
}

/// A user's app would have to link Foundation for it.
#[cfg(all(target_os = "ios", not(feature = "program")))]
fn read() -> Option<State> {
    None
}

/// An app's companion runs where a virtual iPhone keeps its thermal state in a file.
#[cfg(not(target_os = "ios"))]
fn read() -> Option<State> {
    let text = std::fs::read_to_string(std::env::var_os("HARNESS_THERMAL_STATE_FILE")?).ok()?;
    let states = [State::Nominal, State::Fair, State::Serious, State::Critical];
    let names = ["nominal", "fair", "serious", "critical"];
    names.iter().position(|name| *name == text.trim()).map(|at| states[at])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::Value;

    use super::*;

    /// The states recorded while the device goes through these, one for each look and the last at the end.
    fn recorded(name: &str, states: &'static [Option<State>]) -> Vec<String> {
        let path = std::env::temp_dir().join(format!("thermal-{}-{name}", std::process::id()));
        let _ = fs::remove_file(&path);
        let mut result = ResultFile::create(&path).unwrap();
        let mut left = states.iter().copied();
        let mut thermal = Thermal::new(move || left.next().flatten());
        for _ in 1..states.len() {
            thermal.look(&mut result).unwrap();
        }
        thermal.close(&mut result).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let states = records.map(|record| {
            assert_eq!(record["record"], "thermal");
            assert!(record["at_unix_ns"].as_u64().unwrap() > 0);
            record["state"].as_str().unwrap().to_owned()
        });
        states.collect()
    }

    #[test]
    fn the_first_state_every_change_and_the_last_are_recorded() {
        use State::{Critical, Fair, Nominal, Serious};
        let steady = recorded("steady", &[Some(Nominal), Some(Nominal), Some(Nominal)]);
        assert_eq!(steady, ["nominal", "nominal"]);
        let heated = recorded(
            "heated",
            &[Some(Nominal), Some(Fair), Some(Fair), Some(Serious), Some(Critical)],
        );
        assert_eq!(heated, ["nominal", "fair", "serious", "critical"]);
    }

    #[test]
    fn a_system_that_reports_nothing_leaves_no_record() {
        assert!(recorded("silent", &[None, None]).is_empty());
        assert_eq!(recorded("late", &[None, Some(State::Fair), None]), ["fair"]);
    }
}
