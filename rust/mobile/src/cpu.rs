//! Whether the processor can run the kernels; on one that cannot, they would end the app.

#[cfg(not(target_os = "ios"))]
use charsiug2p_g2p_tvm::cpu_features;

/// Those of the features that this processor lacks.
#[cfg(not(target_os = "ios"))]
pub(crate) fn missing_features(needed: &[String]) -> Vec<String> {
    let found = cpu_features();
    needed.iter().filter(|name| !found.contains(&name.as_str())).cloned().collect()
}

/// iOS before 15 has no names for some features that its phones have. The app's minimum version decides there.
#[cfg(target_os = "ios")]
pub(crate) fn missing_features(_needed: &[String]) -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named() {
        let mut needed: Vec<String> = cpu_features().into_iter().map(str::to_owned).collect();
        assert!(missing_features(&needed).is_empty());
        needed.push("third-hand".to_owned());
        assert_eq!(missing_features(&needed), ["third-hand"]);
    }
}
