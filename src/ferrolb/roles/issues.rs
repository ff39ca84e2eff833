//! Telling what is wrong with the configuration, once for each thing that comes or goes.

use std::collections::BTreeSet;

use ferrolb_core::config::Config;
use ferrolb_core::types::Issue;
use tracing::{error, info, warn};

use crate::shell::grpc::Desk;

/// What was told last: errors (`true`) and warnings.
#[derive(Debug, Default)]
pub struct Issues(BTreeSet<(bool, Issue)>);

impl Issues {
    /// Tells, in the log and at the desk, what differs in `config`.
    pub fn tell(&mut self, config: &Config, desk: &Desk) {
        let errors = config.errors.iter().map(|i| (true, i.clone()));
        let now: BTreeSet<(bool, Issue)> =
            errors.chain(config.warnings.iter().map(|i| (false, i.clone()))).collect();
        for (is_error, issue) in now.difference(&self.0) {
            desk.tell_issue(*is_error, issue, false);
            let (object, field) = (issue.object(), issue.field.as_deref().unwrap_or_default());
            if *is_error {
                error!(event = "configError", %object, field, error = %issue.message, "configuration rejected");
            } else {
                warn!(event = "configWarning", %object, field, "{}", issue.message);
            }
        }
        for (is_error, issue) in self.0.difference(&now) {
            desk.tell_issue(*is_error, issue, true);
            if *is_error {
                info!(event = "configErrorCleared", object = %issue.object(), field = issue.field.as_deref().unwrap_or_default(), "an error of the configuration is gone");
            }
        }
        self.0 = now;
    }
}
