//! What is the desk's alone: firms, policies, the emergency switch; and mails that did not go through (workflows 1, 9,
//! 11 and 15). Operators and firms' administrators are served by the steps on people.

use doorward_core::audit::{Actor, Context, Entry, Event, Record, Subject};
use doorward_core::id::{FirmCode, PersonId};
use doorward_core::identity::change::Change;
use doorward_core::identity::decide::serve::{self, Act, Denied};
use doorward_core::identity::decide::{Misuse, Reason, firm, grant};
use doorward_core::identity::firm::Firm;
use doorward_core::identity::halt::{Halt, HaltScope};
use doorward_core::identity::mail::{MailId, MailKind, MailState};
use doorward_core::identity::person::{Grant, Kind, Person, Right};
use doorward_core::identity::policy::{Effective, Policy};

use super::serving::Unserved;
use super::{Asker, Browser};
use crate::book::{Batch, Expect, Load};
use crate::gate::Gate;
use crate::gate::halts::Word;

/// A firm as the desk sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct FirmView {
    /// The firm with its own policy.
    pub firm: Firm,
    /// What is in force for its people.
    pub in_force: Effective,
    /// The emergency switch, where it is thrown for the firm.
    pub halt: Option<Halt>,
}

/// A policy as the desk sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct PolicyView {
    /// What was set.
    pub given: Policy,
    /// What holds, with what stands above.
    pub in_force: Effective,
    /// What would hold if nothing were set here.
    pub above: Effective,
}

/// An operator who may rule now.
struct Ruler {
    person: Person,
    context: Context,
}

impl Ruler {
    fn actor(&self) -> Actor {
        Actor::Person { id: self.person.id, userid: self.person.userid.clone() }
    }

    /// The operator is still who they were.
    fn unchanged(&self) -> Expect {
        Expect::Person(self.person.id, self.person.version)
    }
}

impl Gate {
    /// Only an operator of the desk looks at what is the desk's; to all others it is not there (Q1).
    fn at_desk(&self, asker: &Asker) -> Result<Person, Unserved> {
        let person = self.asking(asker)?;
        // What may be looked at needs no fresh one-time password.
        match serve::may_rule(&serve::Asker { person: &person, factor_at: None }, self.clock.now().wall) {
            Ok(()) | Err(Denied::Stale) => Ok(person),
            Err(denied @ (Denied::NotFound | Denied::Right(_) | Denied::Oneself)) => Err(denied.into()),
        }
    }

    /// Whether the asker may rule now; the refusal is written down with what was to be done.
    async fn ruler(&self, asker: &Asker, what: &'static str, browser: &Browser) -> Result<Ruler, Unserved> {
        let person = self.asking(asker)?;
        let context = self.asking_context(asker, browser);
        let asking = serve::Asker { person: &person, factor_at: asker.factor_at };
        let Err(denied) = serve::may_rule(&asking, context.at) else {
            return Ok(Ruler { person, context });
        };
        let mut record = serve::refusal(&asking, Act::Edit, None, denied, &context);
        record.entry.detail = Some(what.to_owned());
        self.write_refusal(record).await?;
        Err(denied.into())
    }

    /// Commits what an operator rules, with the reason.
    async fn rule(
        &self,
        asker: &Asker,
        ruler: &Ruler,
        mut expects: Vec<Expect>,
        mut record: Record,
        reason: Option<&Reason>,
    ) -> Result<(), Unserved> {
        record.entry.factor = asker.factor();
        if let Some(reason) = reason {
            let before = record.entry.detail.take().map(|detail| format!("{detail}: ")).unwrap_or_default();
            record.entry.detail = Some(format!("{before}{}", reason.as_str()));
        }
        expects.push(ruler.unchanged());
        self.commit(Batch { expects, records: vec![record] }).await?;
        Ok(())
    }

    fn firm_at_desk(&self, code: &FirmCode) -> Result<(Policy, Firm), Unserved> {
        let snapshot = self.store.load(&Load::Firm(code.clone()))?;
        Ok((snapshot.venue, snapshot.firm.ok_or(Unserved::NotFound)?))
    }

    /// All firms, by code.
    pub fn desk_firms(&self, asker: &Asker) -> Result<Vec<FirmView>, Unserved> {
        self.at_desk(asker)?;
        let venue = self.store.load(&Load::Venue)?.venue;
        let halts = self.halts();
        let view = |firm: Firm| {
            let in_force = Effective::of(&venue, Some(&firm.policy));
            let scope = HaltScope::Firm(firm.code.clone());
            let halt = halts.iter().find(|(of, _)| *of == scope).map(|(_, halt)| halt.clone());
            FirmView { firm, in_force, halt }
        };
        Ok(self.store.firms()?.into_iter().map(view).collect())
    }

    /// One firm.
    pub fn desk_firm(&self, asker: &Asker, code: &FirmCode) -> Result<FirmView, Unserved> {
        let found = self.desk_firms(asker)?.into_iter().find(|view| view.firm.code == *code);
        found.ok_or(Unserved::NotFound)
    }

    /// The policy of a firm or, without one, of the venue.
    pub fn desk_policy(&self, asker: &Asker, code: Option<&FirmCode>) -> Result<PolicyView, Unserved> {
        self.at_desk(asker)?;
        match code {
            None => {
                let venue = self.store.load(&Load::Venue)?.venue;
                let in_force = Effective::of(&venue, None);
                Ok(PolicyView { given: venue, in_force, above: Effective::default() })
            }
            Some(code) => {
                let (venue, firm) = self.firm_at_desk(code)?;
                let in_force = Effective::of(&venue, Some(&firm.policy));
                Ok(PolicyView { given: firm.policy, in_force, above: Effective::of(&venue, None) })
            }
        }
    }

    /// Sets up a firm (workflow 1).
    pub async fn desk_add_firm(
        &self,
        asker: &Asker,
        code: FirmCode,
        name: &str,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let ruler = self.ruler(asker, "add-firm", browser).await?;
        if self.store.load(&Load::Firm(code.clone()))?.firm.is_some() {
            let text = format!("code: firm {code} exists already");
            return Err(Misuse::conflict("code", text).into());
        }
        let record = firm::add(code.clone(), name, ruler.actor(), &ruler.context)?;
        self.rule(asker, &ruler, vec![Expect::NoFirm(code)], record, None).await
    }

    /// Sets the policy of a firm or, without one, of the venue (workflow 9). `given.version` names the one it replaces.
    pub async fn desk_set_policy(
        &self,
        asker: &Asker,
        code: Option<&FirmCode>,
        given: &Policy,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let ruler = self.ruler(asker, "set-policy", browser).await?;
        let (expects, record) = match code {
            None => {
                let present = self.store.load(&Load::Venue)?.venue;
                let record = firm::set_venue_policy(&present, given, ruler.actor(), &ruler.context)?;
                (vec![Expect::Venue(present.version)], record)
            }
            Some(code) => {
                let (venue, present) = self.firm_at_desk(code)?;
                let record = firm::set_firm_policy(&venue, &present, given, ruler.actor(), &ruler.context)?;
                let expects = vec![Expect::Firm(code.clone(), present.version), Expect::Venue(venue.version)];
                (expects, record)
            }
        };
        self.rule(asker, &ruler, expects, record, Some(reason)).await
    }

    /// Closes a firm and ends all that its people and FIX sessions have open, or opens it again.
    pub async fn desk_set_closed(
        &self,
        asker: &Asker,
        code: &FirmCode,
        closed: bool,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let what = if closed { "close-firm" } else { "open-firm" };
        let ruler = self.ruler(asker, what, browser).await?;
        let (_, present) = self.firm_at_desk(code)?;
        if present.closed == closed {
            let state = if closed { "closed" } else { "open" };
            return Err(Misuse::conflict("closed", format!("firm {code} is {state} already")).into());
        }
        let record = firm::set_closed(&present, closed, ruler.actor(), &ruler.context);
        let expects = vec![Expect::Firm(code.clone(), present.version)];
        self.rule(asker, &ruler, expects, record, Some(reason)).await?;
        self.carry_out_closing(code, closed);
        Ok(())
    }

    /// Sets what a program may do, for which firms and from where; it holds from its next request on. `version` names
    /// the program as it was looked at.
    pub async fn desk_set_grant(
        &self,
        asker: &Asker,
        id: PersonId,
        version: u64,
        grant: Grant,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let ruler = self.ruler(asker, "set-grant", browser).await?;
        let target = self.store.load(&Load::Person(id))?.person.ok_or(Unserved::NotFound)?;
        for code in &grant.firms {
            if self.store.load(&Load::Firm(code.clone()))?.firm.is_none() {
                return Err(
                    Misuse::invalid("grant.firms", format!("grant.firms: there is no firm {code}")).into()
                );
            }
        }
        let record = grant::set_grant(&target, grant, &ruler.actor(), &ruler.context)?;
        self.rule(asker, &ruler, vec![Expect::Person(id, version)], record, Some(reason)).await
    }

    /// The emergency switches that are thrown.
    pub fn desk_halts(&self, asker: &Asker) -> Result<Vec<(HaltScope, Halt)>, Unserved> {
        self.at_desk(asker)?;
        Ok(self.halts())
    }

    /// Throws the emergency switch: no new logons; with `end_all` an end to all that is open (workflow 15).
    pub async fn desk_throw(
        &self,
        asker: &Asker,
        scope: HaltScope,
        end_all: bool,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let ruler = self.ruler(asker, "throw-switch", browser).await?;
        self.throw_as(scope, end_all, word(asker, ruler, reason)).await?;
        Ok(())
    }

    /// Takes the emergency switch back.
    pub async fn desk_lift(
        &self,
        asker: &Asker,
        scope: HaltScope,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let ruler = self.ruler(asker, "lift-switch", browser).await?;
        self.lift_as(scope, word(asker, ruler, reason)).await?;
        Ok(())
    }

    /// Has a mail tried again now that waits or was given up: an administrator one of the own firm.
    pub async fn retry_mail(&self, asker: &Asker, id: MailId, browser: &Browser) -> Result<(), Unserved> {
        let queued = match (self.store.mail(id)?, asker.kind) {
            (Some(queued), Kind::Desk) => {
                self.at_desk(asker)?;
                queued
            }
            (Some(queued), Kind::Administrator | Kind::Trader | Kind::Service)
                if queued.mail.firm.is_some() && queued.mail.firm == asker.firm =>
            {
                self.may_look(asker, Kind::Trader, asker.firm.as_ref(), Right::EditPeople)?;
                queued
            }
            // Another firm's is as little there as one that never was; the try is written down (Q1).
            (Some(_) | None, _) => {
                let person = self.asking(asker)?;
                let asking = serve::Asker { person: &person, factor_at: asker.factor_at };
                let context = self.asking_context(asker, browser);
                let mut record = serve::refusal(&asking, Act::Edit, None, Denied::NotFound, &context);
                record.entry.detail = Some("retry-mail".to_owned());
                self.write_refusal(record).await?;
                return Err(Unserved::NotFound);
            }
        };
        let needs_link = queued.mail.kind == MailKind::SetupLink && queued.mail.secret.is_none();
        match &queued.state {
            MailState::Sent { .. } => {
                return Err(Misuse::conflict("mail", "mail: it has been sent already").into());
            }
            MailState::GivenUp { .. } if needs_link => {
                let text = "mail: its setup link is gone; send a new link";
                return Err(Misuse::conflict("mail", text).into());
            }
            MailState::GivenUp { .. } | MailState::Waiting { .. } => {}
        }
        let context = self.asking_context(asker, browser);
        let mail = &queued.mail;
        let subject = mail.about.zip(mail.userid.clone()).map(|(id, userid)| Subject { id, userid });
        let entry = Entry::new(&context, Event::MailQueued, asker.actor());
        let detail = format!("{} {id}, tried again by hand", mail.kind);
        let entry = Entry { subject, firm: mail.firm.clone(), factor: asker.factor(), ..entry };
        let state = MailState::Waiting { tries: 0, next_us: context.at, error: None };
        let changes = vec![Change::MailState { mail: id, state }];
        let record = Record { entry: entry.with_detail(detail), changes };
        self.commit(Batch { expects: Vec::new(), records: vec![record] }).await?;
        self.wake_outbox(true);
        Ok(())
    }
}

fn word<'a>(asker: &Asker, ruler: Ruler, reason: &'a Reason) -> Word<'a> {
    Word { reason, actor: ruler.actor(), factor: asker.factor(), context: ruler.context }
}
