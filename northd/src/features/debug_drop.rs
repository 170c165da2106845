//! `NB_Global.options:debug_drop_collector_set` with the application `drop` of `Sampling_App` (or, without one,
//! `debug_drop_domain_id`): samples of what is dropped.
//!
//! Guarantees: while they are usable, every flow that drops, whichever feature wrote it, sends a sample to the collectors
//! instead of saying nothing; the domain names the datapath and the point names the flow. A value that cannot be used
//! samples nothing and is reported.

use weft_lang::Action;
use weft_lang::action::{ObsPoint, Sample};
use weft_schemas::nb;

use crate::program::{Cx, Feature, Key, Per};

/// The type of the application whose number is the domain.
pub const APPLICATION: &str = "drop";

const SET: &str = "debug_drop_collector_set";
const DOMAIN: &str = "debug_drop_domain_id";

/// Where samples of dropped packets go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DebugDrop {
    collector_set: u32,
    domain: u8,
}

impl DebugDrop {
    /// From `NB_Global`, if it asks for it in a way that can be used.
    /// The number of an application goes before an option.
    pub fn of(global: &nb::NbGlobal, application: Option<i64>) -> Option<DebugDrop> {
        let option = |name: &str| global.options.get(name).map(|text| &**text);
        let number = application.map(|number| number.to_string());
        let domain = number.as_deref().or(option(DOMAIN));
        DebugDrop::parse(option(SET), domain).ok().flatten()
    }

    fn parse(
        set: Option<&str>,
        domain: Option<&str>,
    ) -> Result<Option<DebugDrop>, (&'static str, String)> {
        let Some(set) = set else { return Ok(None) };
        let bad = |option, text: &str, range| {
            let message = format!("{option}=\"{text}\" is not {range}: drops are not sampled");
            Err(("options", message))
        };
        let collector_set = match set.parse::<u32>() {
            Ok(0) => return Ok(None),
            Ok(number) => number,
            Err(_) => return bad(SET, set, "a number of 32 bits"),
        };
        let domain = domain.unwrap_or("0");
        match domain.parse::<u8>() {
            Ok(domain) => Ok(Some(DebugDrop {
                collector_set,
                domain,
            })),
            Err(_) => bad(DOMAIN, domain, "a number of 8 bits"),
        }
    }

    /// Takes the sample.
    pub fn sample(self) -> Action {
        Action::Sample(Sample {
            probability: u16::MAX,
            collector_set: self.collector_set,
            obs_domain: self.domain,
            obs_point: ObsPoint::Cookie,
        })
    }
}

/// Says what is wrong with the options.
pub struct Check;

impl Feature for Check {
    const NAME: &'static str = "debug_drop";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        let (set, domain) = (cx.global_option(SET), cx.global_option(DOMAIN));
        let Some(uuid) = cx.all(nb::TableId::NbGlobal).first().copied() else {
            return;
        };
        // An option that an application takes the place of is nobody's trouble.
        let domain = domain.filter(|_| super::acl::sample::application(cx, APPLICATION).is_none());
        if let Err((column, message)) = DebugDrop::parse(set.as_deref(), domain.as_deref()) {
            cx.diagnose::<nb::NbGlobal>(".", uuid, column, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use weft_schemas::nb;

    use crate::testing::{Bed, map};

    #[test]
    fn whatever_drops_is_sampled() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        bed.router_on(switch, "r", "0a:00:00:00:00:01", &["10.0.0.1/24"]);
        let before = bed.all_flows("drop;").lines().count();
        let text = "| sample(probability=65535,collector_set=77,obs_domain=5,obs_point=$cookie);";
        assert!(before > 10);
        let set = |bed: &mut Bed, set: &str, domain: &str| {
            let options = [
                ("debug_drop_collector_set", set),
                ("debug_drop_domain_id", domain),
            ];
            bed.global(|row| row.options = map(options));
        };
        set(&mut bed, "77", "5");
        assert_eq!(bed.all_flows(text).lines().count(), before);
        assert_eq!(bed.all_flows("drop;"), "");
        set(&mut bed, "77", "256");
        assert_eq!(bed.all_flows("drop;").lines().count(), before);
        let said = bed.diagnostics();
        assert!(said.contains("debug_drop_domain_id=\"256\""), "{said}");
        let app = bed.insert(nb::SamplingApp {
            type_: "drop".into(),
            id: 9,
            ..nb::SamplingApp::default()
        });
        let by_app = text.replace("obs_domain=5", "obs_domain=9");
        assert_eq!(bed.all_flows(&by_app).lines().count(), before);
        assert_eq!(bed.diagnostics(), "", "the option is not looked at");
        bed.remove::<nb::SamplingApp>(app);
        assert_eq!(bed.all_flows("drop;").lines().count(), before);
        set(&mut bed, "x", "5");
        assert_eq!(bed.all_flows("sample("), "");
        assert!(bed.diagnostics().contains("debug_drop_collector_set=\"x\""));
    }
}
