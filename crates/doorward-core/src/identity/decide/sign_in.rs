//! A sign-in with a browser: a login by somebody who may have a setup link.

use super::link::{link_live, wrong_password};
use super::login::{self, Facts};
use super::{Decision, Settle, View, standing};
use crate::audit::Context;
use crate::identity::link::LinkHash;
use crate::trace::{Check, Trace, Walk};

/// Decides a sign-in. With a link the person is whose it is; a wrong password counts on it (K8), and without the right
/// one it gives nothing (K4). [`Verdict::RegistrationNeeded`](crate::ask::Verdict::RegistrationNeeded) says that the
/// password was right.
pub fn sign_in(view: &View<'_>, facts: &Facts<'_>, link: Option<&LinkHash>, context: &Context) -> Decision {
    let mut trace = Trace::of(Walk::SignIn);
    let live = match link.map(|hash| link_live(view.person, hash, context.at)) {
        None => {
            trace.skip(Check::LinkLive);
            None
        }
        Some(Ok(link)) => Some(link),
        Some(Err(failed)) => {
            let trace = trace.fail(failed.check, failed.expected, failed.seen);
            return login::refuse(view, facts, context, trace, failed.deny);
        }
    };
    let mut decision = login::judge(view, facts, context, trace);
    if let (Some(link), Some(person), Settle::Wrong) = (live, view.person, decision.settle) {
        decision.record.changes.push(wrong_password(person, link, context.at));
    }
    decision
}

/// Whether somebody's browser session may go on, apart from its time: asked at each request. The emergency switch
/// ends none by itself.
pub fn may_browse(view: &View<'_>, context: &Context) -> bool {
    let mut trace = Trace::of(Walk::StepUp);
    view.person.is_some_and(|person| standing(view, person, context, &mut trace).is_ok())
}
