//! What an administrator does for the people of the own firm, and the desk for administrators and operators: each a
//! step on somebody, with its record, its mails and what it ends (workflows 2, 6, 8 and 11 to 14).

use std::collections::BTreeSet;
use std::time::Duration;

use doorward_core::ask::Enveloped;
use doorward_core::id::{FirmCode, PersonId, UserId};
use doorward_core::identity::decide::link::NewLink;
use doorward_core::identity::decide::serve::{self, Act, Denied};
use doorward_core::identity::decide::{Misuse, Reason, Ruling, View};
use doorward_core::identity::link::Handed;
use doorward_core::identity::notice::Notice;
use doorward_core::identity::person::{Grant, Kind, Person, Profile, Right, Standing};
use doorward_core::identity::policy::AuthSystem;
use doorward_core::secret::Secret;
use doorward_core::time::Wall;

use super::links::LinkToken;
use super::people::PeopleQuery;
use super::serving::{Decided, Scene, Step, Undecided, Unserved};
use super::{Asker, Browser};
use crate::book::{Batch, CommitError, Expect, Load};
use crate::gate::Gate;
use crate::gate::admin::{NewPassword, NewPerson, Prepared};

/// People who are looked at for one call of a bulk step.
const BULK_PAGE: usize = 100;
/// Who was mailed a link within this time that still works is not mailed another in bulk.
const MAILED_LATELY: Duration = Duration::from_secs(3_600);

/// The first password of somebody.
#[derive(Debug)]
pub enum FirstPassword {
    /// Made here, and shown once to whoever asked for it.
    Generated,
    /// Typed by whoever adds or resets somebody.
    Typed(Enveloped),
}

impl FirstPassword {
    fn into_new(self) -> NewPassword {
        match self {
            Self::Generated => NewPassword::Generated,
            Self::Typed(enveloped) => NewPassword::Enveloped(enveloped),
        }
    }
}

/// A trader who is to be added.
#[derive(Debug)]
pub struct NewTrader {
    /// The user name.
    pub userid: UserId,
    /// Where mail goes.
    pub email: Option<String>,
    /// How they prove themselves.
    pub auth_system: AuthSystem,
    /// To be changed at the first sign-in.
    pub password: FirstPassword,
}

/// An administrator or operator who is to be added.
#[derive(Debug)]
pub struct NewAdministrator {
    /// The user name.
    pub userid: UserId,
    /// Where mail goes.
    pub email: Option<String>,
    /// Of which firm; `None`: an operator of the desk.
    pub firm: Option<FirmCode>,
    /// What they may do; nobody gives what they have not. An operator has no rights of this kind.
    pub rights: BTreeSet<Right>,
    /// To be changed at the first sign-in.
    pub password: FirstPassword,
}

/// Somebody was added.
#[derive(Debug)]
pub struct Added {
    /// Who.
    pub person: PersonId,
    /// The generated password; shown once, to its maker.
    pub password: Option<Secret<String>>,
}

/// A setup link, to be shown once.
#[derive(Debug)]
pub struct ShownLink {
    /// The link.
    pub url: Secret<String>,
    /// From when on it does not work.
    pub expires_at: Wall,
    /// For whom.
    pub userid: UserId,
    /// The name of their firm.
    pub firm: Option<String>,
}

/// What a reset brought.
#[derive(Debug, Default)]
pub struct Reset {
    /// The generated password; shown once, to its maker.
    pub password: Option<Secret<String>>,
    /// The new link, where it was to be shown.
    pub link: Option<ShownLink>,
}

/// What a bulk step came to so far.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BulkSent {
    /// To how many a link was mailed.
    pub sent: usize,
    /// To whom none was, and why.
    pub skipped: Vec<(UserId, String)>,
    /// From behind whom it goes on; `None`: all were looked at.
    pub next: Option<UserId>,
}

impl Gate {
    /// Adds a trader to the asker's own firm.
    pub async fn add_trader(
        &self,
        asker: &Asker,
        new: NewTrader,
        browser: &Browser,
    ) -> Result<Added, Unserved> {
        let new = NewPerson {
            userid: new.userid,
            kind: Kind::Trader,
            firm: asker.firm.clone(),
            auth_system: Some(new.auth_system),
            password: new.password.into_new(),
            initial: true,
            profile: Profile { email: new.email, ..Profile::default() },
        };
        self.add_as(asker, new, browser).await
    }

    /// Adds an administrator to the asker's own firm; the desk to any firm, or an operator.
    pub async fn add_administrator(
        &self,
        asker: &Asker,
        new: NewAdministrator,
        browser: &Browser,
    ) -> Result<Added, Unserved> {
        let kind = if new.firm.is_some() { Kind::Administrator } else { Kind::Desk };
        let grant = match kind {
            Kind::Administrator => Some(Grant { rights: new.rights, ..Grant::default() }),
            Kind::Desk | Kind::Trader | Kind::Service => None,
        };
        let new = NewPerson {
            userid: new.userid,
            kind,
            firm: new.firm,
            auth_system: Some(AuthSystem::Otp),
            password: new.password.into_new(),
            initial: true,
            profile: Profile { email: new.email, grant, ..Profile::default() },
        };
        self.add_as(asker, new, browser).await
    }

    async fn add_as(&self, asker: &Asker, new: NewPerson, browser: &Browser) -> Result<Added, Unserved> {
        let context = self.asking_context(asker, browser);
        let by = self.asking(asker)?;
        let asking = serve::Asker { person: &by, factor_at: asker.factor_at };
        let rights = new.profile.grant.as_ref().map(|grant| grant.rights.clone()).unwrap_or_default();
        let what = match &new.firm {
            Some(code) => Load::Firm(code.clone()),
            None => Load::Venue,
        };
        let snapshot = self.store.load(&what)?;
        let is_missing = new.firm.is_some() && snapshot.firm.is_none();
        let denied = match serve::may_add(&asking, new.kind, new.firm.as_ref(), &rights, context.at) {
            Ok(()) if is_missing => Some(Denied::NotFound),
            answer => answer.err(),
        };
        if let Some(denied) = denied {
            self.write_refusal(serve::refusal(&asking, Act::Add, None, denied, &context)).await?;
            return Err(denied.into());
        }
        let userid = new.userid.clone();
        let prepared = self.prepare_person(new, &snapshot, asking.actor(), &context).await?;
        let Prepared { id, mut expects, mut record, generated } = prepared;
        record.entry.factor = asker.factor();
        expects.push(Expect::Person(by.id, by.version));
        match self.commit(Batch { expects, records: vec![record] }).await {
            Ok(_) => Ok(Added { person: id, password: generated }),
            Err(CommitError::Conflict(_)) if self.person(&userid).is_ok() => {
                let text = format!("userid: {userid} is taken; choose another user name");
                Err(Misuse::conflict("userid", text).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes somebody's authenticator away (workflow 6a); with `hand` a new link is made in the same breath (6b).
    pub async fn reset_authenticator(
        &self,
        asker: &Asker,
        id: PersonId,
        reason: &Reason,
        hand: Option<Handed>,
        browser: &Browser,
    ) -> Result<Reset, Unserved> {
        let token = self.token_for(hand)?;
        let decide = |scene: &Scene<'_>| -> Decided {
            let record = serve::reset_authenticator(&scene.asker, scene.target, reason, scene.context)?;
            let after = scene.target.after(&record);
            self.with_link(scene, vec![record], &after, token.as_ref().zip(hand), reason)
        };
        self.serve_on(asker, id, Act::ResetAuthenticator, browser, decide).await?;
        Ok(Reset { password: None, link: self.shown(id, token, hand)? })
    }

    /// Sets an initial password and takes the authenticator away (workflow 6c); with `hand` a new link comes along.
    pub async fn reset_all(
        &self,
        asker: &Asker,
        id: PersonId,
        password: FirstPassword,
        reason: &Reason,
        hand: Option<Handed>,
        browser: &Browser,
    ) -> Result<Reset, Unserved> {
        self.ask_first(asker, id, Act::ResetAll, browser).await?;
        let token = self.token_for(hand)?;
        let snapshot = self.store.load(&Load::Person(id))?;
        let person = snapshot.person.as_ref().ok_or(Unserved::NotFound)?;
        // Hashed before anybody is held up.
        let (phc, generated) = self.hash_for(&password.into_new(), person, &snapshot).await?;
        let decide = |scene: &Scene<'_>| -> Decided {
            let Scene { asker, target, context, .. } = scene;
            let policy = &scene.view.policy;
            let records = serve::reset_all(asker, target, phc.clone(), policy, reason, context)?;
            let after = records.iter().fold((*target).clone(), |person, record| person.after(record));
            self.with_link(scene, records, &after, token.as_ref().zip(hand), reason)
        };
        self.serve_on(asker, id, Act::ResetAll, browser, decide).await?;
        Ok(Reset { password: generated, link: self.shown(id, token, hand)? })
    }

    /// Asks whether a step may be done before work is spent on it; the refusal is written down.
    async fn ask_first(
        &self,
        asker: &Asker,
        id: PersonId,
        act: Act,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let by = self.asking(asker)?;
        let asking = serve::Asker { person: &by, factor_at: asker.factor_at };
        let context = self.asking_context(asker, browser);
        let target = self.store.load(&Load::Person(id))?.person;
        let may = match &target {
            Some(target) => serve::may(&asking, act, target, context.at),
            None => Err(Denied::NotFound),
        };
        let Err(denied) = may else { return Ok(()) };
        self.write_refusal(serve::refusal(&asking, act, target.as_ref(), denied, &context)).await?;
        Err(denied.into())
    }

    fn token_for(&self, hand: Option<Handed>) -> Result<Option<LinkToken>, Unserved> {
        if hand == Some(Handed::Shown) && self.settings.portal_url.is_none() {
            let text = "link: the portal has no address; set portal.public_url in the configuration";
            return Err(Misuse::conflict("link", text).into());
        }
        Ok(hand.map(|_| self.link_token()).transpose()?)
    }

    /// The link that was just made, where it is to be shown.
    fn shown(
        &self,
        id: PersonId,
        token: Option<LinkToken>,
        hand: Option<Handed>,
    ) -> Result<Option<ShownLink>, Unserved> {
        let (Some(token), Some(Handed::Shown)) = (token, hand) else { return Ok(None) };
        let snapshot = self.store.load(&Load::Person(id))?;
        let person = snapshot.person.ok_or(Unserved::NotFound)?;
        let made = person.link.filter(|link| link.hash == token.hash());
        let portal = self.settings.portal_url.as_deref().unwrap_or_default();
        Ok(made.map(|link| ShownLink {
            url: token.url(portal),
            expires_at: link.expires_at,
            userid: person.userid,
            firm: snapshot.firm.map(|firm| firm.name),
        }))
    }

    /// A reset with what comes along; where the link may not be made, nothing is done but its refusal.
    fn with_link(
        &self,
        scene: &Scene<'_>,
        mut records: Vec<doorward_core::audit::Record>,
        after: &Person,
        link: Option<(&LinkToken, Handed)>,
        reason: &Reason,
    ) -> Result<Step, Undecided> {
        let Some((token, handed)) = link else { return Ok(Step::ending(records)) };
        let Ruling { result, record } = self.link_ruling(scene, after, token, handed, Some(reason))?;
        if result.is_err() {
            return Ok(Step { result, ..Step::quiet(record) });
        }
        records.push(record);
        Ok(Step::ending(records))
    }

    /// Makes a link for somebody as they are, or are about to be; mailed, its mail is in the record.
    fn link_ruling(
        &self,
        scene: &Scene<'_>,
        person: &Person,
        token: &LinkToken,
        handed: Handed,
        reason: Option<&Reason>,
    ) -> Result<Ruling, Undecided> {
        let view = View { person: Some(person), ..scene.view };
        let new = NewLink { hash: token.hash(), handed, reason: reason.cloned() };
        let mail = self.settings.mail;
        let mut ruling = serve::make_link(&scene.asker, &view, person, &new, mail, scene.context)?;
        if ruling.result.is_ok() && handed == Handed::Mailed {
            let valid = Duration::from_secs(60 * u64::from(scene.view.policy.setup_link_min));
            ruling.record.changes.push(self.link_mail(person, token, valid, scene.context.at)?);
        }
        Ok(ruling)
    }

    /// Mails somebody a setup link.
    pub async fn send_link(&self, asker: &Asker, id: PersonId, browser: &Browser) -> Result<(), Unserved> {
        let token = self.link_token()?;
        self.hand_link(asker, id, &token, Handed::Mailed, None, browser).await
    }

    /// Makes a setup link to be copied; written down with its viewer (K6).
    pub async fn show_link(
        &self,
        asker: &Asker,
        id: PersonId,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<ShownLink, Unserved> {
        let hand = Some(Handed::Shown);
        let Some(token) = self.token_for(hand)? else { return Err(Unserved::NotFound) };
        self.hand_link(asker, id, &token, Handed::Shown, Some(reason), browser).await?;
        self.shown(id, Some(token), hand)?.ok_or(Unserved::NotFound)
    }

    async fn hand_link(
        &self,
        asker: &Asker,
        id: PersonId,
        token: &LinkToken,
        handed: Handed,
        reason: Option<&Reason>,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let act = match handed {
            Handed::Mailed => Act::SendLink,
            Handed::Shown => Act::ShowLink,
        };
        let decide = |scene: &Scene<'_>| -> Decided {
            let ruling = self.link_ruling(scene, scene.target, token, handed, reason)?;
            Ok(Step { result: ruling.result, ..Step::quiet(ruling.record) })
        };
        self.serve_on(asker, id, act, browser, decide).await
    }

    /// Takes somebody's live setup link back.
    pub async fn revoke_link(&self, asker: &Asker, id: PersonId, browser: &Browser) -> Result<(), Unserved> {
        let decide = |scene: &Scene<'_>| -> Decided {
            Ok(Step::quiet(serve::revoke_link(&scene.asker, scene.target, scene.context)?))
        };
        self.serve_on(asker, id, Act::RevokeLink, browser, decide).await
    }

    /// Mails a setup link to those of a list who have to register, from behind `after` on, a stretch at a time; each
    /// has a record of their own.
    pub async fn send_to_all_unregistered(
        &self,
        asker: &Asker,
        query: &PeopleQuery,
        after: Option<&UserId>,
        browser: &Browser,
    ) -> Result<BulkSent, Unserved> {
        let query = PeopleQuery { not_registered: true, ..query.clone() };
        let page = self.listed_people(asker, &query, after, BULK_PAGE, Right::EditPeople)?;
        let now = self.clock.now().wall;
        let mut bulk = BulkSent { next: page.next, ..BulkSent::default() };
        for (person, policy) in page.people {
            let skip = if person.standing == Standing::Disabled {
                Some("disabled")
            } else if !person.needs_otp(&policy) {
                Some("needs no authenticator")
            } else if !self.settings.mail {
                Some("mail is not set up")
            } else if person.profile.email.is_none() {
                Some("no mail address")
            } else if was_mailed_lately(&person, now) {
                Some("a link was mailed within the last hour")
            } else {
                None
            };
            if let Some(why) = skip {
                bulk.skipped.push((person.userid, why.to_owned()));
                continue;
            }
            match self.send_link(asker, person.id, browser).await {
                Ok(()) => bulk.sent += 1,
                Err(Unserved::Refused(deny)) => bulk.skipped.push((person.userid, deny.doc().to_owned())),
                Err(Unserved::Oneself) => bulk.skipped.push((person.userid, "yourself".to_owned())),
                Err(Unserved::Misuse(misuse)) => bulk.skipped.push((person.userid, misuse.text)),
                Err(Unserved::NotFound) => bulk.skipped.push((person.userid, "gone".to_owned())),
                Err(other) => return Err(other),
            }
        }
        Ok(bulk)
    }

    /// Unlocks somebody: the authenticator, and all counts of wrong passwords (workflow 13).
    pub async fn unlock_person(
        &self,
        asker: &Asker,
        id: PersonId,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let decide = |scene: &Scene<'_>| -> Decided {
            let record = serve::unlock(&scene.asker, scene.target, reason, scene.context)?;
            Ok(Step { forgets: true, ..Step::quiet(record) })
        };
        self.serve_on(asker, id, Act::Unlock, browser, decide).await
    }

    /// Disables somebody who leaves: sessions, links and open connections end (workflow 12).
    pub async fn leave(
        &self,
        asker: &Asker,
        id: PersonId,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let decide = |scene: &Scene<'_>| -> Decided {
            let Scene { asker, target, is_last, context, .. } = scene;
            Ok(Step::ending(vec![serve::disable(asker, target, *is_last, reason, context)?]))
        };
        self.serve_on(asker, id, Act::Disable, browser, decide).await
    }

    /// Lets somebody in again.
    pub async fn enable(
        &self,
        asker: &Asker,
        id: PersonId,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let decide = |scene: &Scene<'_>| -> Decided {
            Ok(Step::quiet(serve::enable(&scene.asker, scene.target, reason, scene.context)?))
        };
        self.serve_on(asker, id, Act::Enable, browser, decide).await
    }

    /// Changes where somebody's mail goes; a live link is taken back, both addresses are told (workflow 14).
    pub async fn change_email(
        &self,
        asker: &Asker,
        id: PersonId,
        email: Option<String>,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let decide = |scene: &Scene<'_>| -> Decided {
            Ok(Step::quiet(serve::change_email(&scene.asker, scene.target, email.clone(), scene.context)?))
        };
        self.serve_on(asker, id, Act::ChangeEmail, browser, decide).await
    }

    /// Changes what an administrator may do.
    pub async fn set_rights(
        &self,
        asker: &Asker,
        id: PersonId,
        rights: BTreeSet<Right>,
        reason: &Reason,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let decide = |scene: &Scene<'_>| -> Decided {
            let Scene { asker, target, is_last, context, .. } = scene;
            let record = serve::set_rights(asker, target, rights.clone(), *is_last, reason, context)?;
            Ok(Step::quiet(record))
        };
        self.serve_on(asker, id, Act::SetRights, browser, decide).await
    }

    /// Changes what an administrator is told of by mail.
    pub async fn set_notices(
        &self,
        asker: &Asker,
        id: PersonId,
        notices: BTreeSet<Notice>,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let decide = |scene: &Scene<'_>| -> Decided {
            let record = serve::set_notices(&scene.asker, scene.target, notices.clone(), scene.context)?;
            Ok(Step::quiet(record))
        };
        self.serve_on(asker, id, Act::SetNotices, browser, decide).await
    }

    /// Changes how somebody proves themselves. Lowering it needs a reason, takes the authenticator away and ends their
    /// connections (workflow 6).
    pub async fn change_auth_system(
        &self,
        asker: &Asker,
        id: PersonId,
        system: AuthSystem,
        reason: Option<&Reason>,
        browser: &Browser,
    ) -> Result<(), Unserved> {
        let decide = |scene: &Scene<'_>| -> Decided {
            let Scene { asker, target, view, context, .. } = scene;
            let lowers = system < target.auth_system;
            let records = serve::change_auth_system(asker, target, system, &view.policy, reason, context)?;
            Ok(Step { ends: lowers, ..Step::ending(records) })
        };
        // Whichever it is, it is decided on the person as they are.
        self.serve_on(asker, id, Act::RaiseAuthSystem, browser, decide).await
    }
}

fn was_mailed_lately(person: &Person, now: Wall) -> bool {
    let mailed = person.link.as_ref().filter(|link| link.handed == Handed::Mailed && link.is_live(now));
    mailed.is_some_and(|link| now.since(link.made_at) < MAILED_LATELY)
}
