//! Steps on one trader, each with its record.

use super::{NewSeed, Stepped};
use crate::ask::{ShownSeed, StepDone, Verdict};
use crate::audit::{Context, Factor, Record};
use crate::identity::decide::acting::Agent;
use crate::identity::decide::person::{Edit, edit};
use crate::identity::decide::{Misuse, Reason, Settle, authenticator};
use crate::identity::person::Person;
use crate::identity::policy::Effective;

/// Steps on one trader, each on what the one before it left.
pub(super) struct Steps<'a> {
    pub(super) agent: &'a Agent<'a>,
    pub(super) person: Person,
    pub(super) records: Vec<Record>,
    pub(super) reason: Option<Reason>,
    pub(super) context: &'a Context,
}

impl Steps<'_> {
    pub(super) fn push(&mut self, record: Record) {
        self.person = self.person.after(&record);
        self.records.push(signed(self.agent, record, self.reason.as_ref()));
    }

    pub(super) fn edit(&mut self, wanted: Edit, policy: &Effective) -> Result<(), Misuse> {
        let records = edit(&self.person, wanted, policy, &self.agent.actor(), self.context)?;
        records.into_iter().for_each(|record| self.push(record));
        Ok(())
    }

    /// Makes a seed; a registered authenticator is taken away first.
    pub(super) fn issue(&mut self, new: NewSeed) -> Result<ShownSeed, Misuse> {
        let NewSeed { seed, shown } = new;
        if self.person.authenticator.is_registered() {
            self.push(authenticator::revoke(&self.person, self.agent.actor(), self.context)?);
        }
        self.push(authenticator::issue(&self.person, seed, self.agent.actor(), self.context)?);
        Ok(shown)
    }

    pub(super) fn done(self, seed: Option<ShownSeed>, settle: Settle) -> Stepped {
        let broker_comm_rate = self.person.profile.broker_comm_rate;
        let verdict = Verdict::StepDone(Box::new(StepDone { broker_comm_rate, seed }));
        Stepped { verdict, settle, records: self.records }
    }
}

/// The record as this asker's: what they proved, and why they did it.
pub(super) fn signed(agent: &Agent<'_>, mut record: Record, reason: Option<&Reason>) -> Record {
    let fresh = agent.factor_at.is_some();
    record.entry.factor = if fresh { Factor::PasswordAndCode } else { Factor::Password };
    if let Some(reason) = reason {
        let before = record.entry.detail.take().map(|detail| format!("{detail}: ")).unwrap_or_default();
        record.entry.detail = Some(format!("{before}{}", reason.as_str()));
    }
    record
}
