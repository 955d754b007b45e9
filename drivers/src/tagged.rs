//! Functions that an engine knows itself: virtual machines whose metadata says that they are one.

use record::{HostName, Utilization, VmName};

/// A virtual machine that is tagged as a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Tagged {
    /// Its name.
    pub vm: VmName,
    /// Where it runs.
    pub host: HostName,
    /// How many people see its video, where its tag says it.
    pub viewers: Option<u32>,
    /// Load that it brings to a host, where its tag says it.
    pub load: Option<Utilization>,
}

/// What an engine was asked for functions, and what it did not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The functions.
    pub functions: Vec<Tagged>,
    /// Hosts that the engine has, where it says that itself.
    pub hosts: Vec<HostName>,
    /// Why others may be missing, each in a line.
    pub problems: Vec<String>,
}

impl Found {
    /// Takes one in, or what is wrong with it. One that is seen twice, as while others move it, counts where it was seen first.
    pub(crate) fn take(&mut self, tagged: Result<Tagged, String>) {
        match tagged {
            Ok(new) if self.functions.iter().any(|known| known.vm == new.vm) => {}
            Ok(new) => self.functions.push(new),
            Err(problem) => self.problems.push(problem),
        }
    }
}

impl Tagged {
    /// Reads a tag: `viewers` and `load` as they are written there.
    ///
    /// # Errors
    /// When one is no figure of its kind.
    pub(crate) fn read(
        vm: VmName,
        host: HostName,
        viewers: Option<&str>,
        load: Option<&str>,
    ) -> Result<Self, String> {
        let wrong =
            |what: &str, text: &str| format!("{vm} on {host} is tagged with {what} = {text:?}");
        let viewers = viewers
            .map(|text| text.trim().parse().map_err(|_| wrong("viewers", text)))
            .transpose()?;
        let load = load
            .map(|text| {
                let share = text.trim().parse().map_err(|_| wrong("load", text))?;
                Utilization::new(share).map_err(|error| format!("{}: {error}", wrong("load", text)))
            })
            .transpose()?;
        Ok(Self {
            vm,
            host,
            viewers,
            load,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(viewers: Option<&str>, load: Option<&str>) -> Result<Tagged, String> {
        let (vm, host) = (VmName::new("overlay"), HostName::new("edge-1"));
        Tagged::read(vm.unwrap(), host.unwrap(), viewers, load)
    }

    #[test]
    fn a_tag_may_say_nothing_more() {
        let tagged = read(None, None).unwrap();
        assert_eq!((tagged.viewers, tagged.load), (None, None));
        let tagged = read(Some("3"), Some("0.25")).unwrap();
        assert_eq!(tagged.viewers, Some(3));
        assert_eq!(tagged.load.map(Utilization::share), Some(0.25));
    }

    #[test]
    fn nonsense_is_named() {
        for (viewers, load, why) in [
            (Some("many"), None, "viewers"),
            (Some("-1"), None, "viewers"),
            (None, Some("1.4"), "load"),
            (None, Some("NaN"), "load"),
            (None, Some(""), "load"),
        ] {
            let refused = read(viewers, load).unwrap_err();
            assert!(
                refused.contains("overlay") && refused.contains(why),
                "{refused}"
            );
        }
    }

    #[test]
    fn one_that_is_seen_twice_is_one() {
        let mut found = Found::default();
        for _ in 0..2 {
            found.take(read(None, None));
        }
        found.take(Err("a problem".into()));
        assert_eq!((found.functions.len(), found.problems.len()), (1, 1));
    }
}
