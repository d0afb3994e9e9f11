//! The steps on a person that have a page, in words.

use doorward_core::identity::decide::serve::Act;

use super::super::reply::Oops;

/// A step that has a page: its name in the path, what it does, the button, and what is said once it is done.
pub(super) struct StepRow {
    pub(super) path: &'static str,
    pub(super) act: Act,
    pub(super) title: &'static str,
    pub(super) text: &'static str,
    pub(super) done: &'static str,
}

/// In the order of the buttons.
pub(super) const STEPS: &[StepRow] = &[
    StepRow {
        path: "send-link",
        act: Act::SendLink,
        title: "Mail a setup link",
        text: "An earlier link stops working.",
        done: "The setup link is on its way.",
    },
    StepRow {
        path: "show-link",
        act: Act::ShowLink,
        title: "Show a setup link",
        text: "It is shown once, to be copied; that you saw it is written down. An earlier link stops working.",
        done: "",
    },
    StepRow {
        path: "revoke-link",
        act: Act::RevokeLink,
        title: "Take the setup link back",
        text: "The link stops working at once.",
        done: "The setup link was taken back.",
    },
    StepRow {
        path: "reset-authenticator",
        act: Act::ResetAuthenticator,
        title: "Reset the authenticator",
        text: "The authenticator and the recovery codes stop working, all sessions end, and another authenticator must be registered.",
        done: "The authenticator was reset.",
    },
    StepRow {
        path: "reset-all",
        act: Act::ResetAll,
        title: "Reset password and authenticator",
        text: "A new initial password is made and shown once; the authenticator stops working and all sessions end.",
        done: "",
    },
    StepRow {
        path: "unlock",
        act: Act::Unlock,
        title: "Unlock",
        text: "Wrong codes and wrong passwords are forgotten.",
        done: "Unlocked.",
    },
    StepRow {
        path: "disable",
        act: Act::Disable,
        title: "Disable",
        text: "For somebody who leaves: sessions, links and open connections end at once.",
        done: "Disabled; all that was open has ended.",
    },
    StepRow {
        path: "enable",
        act: Act::Enable,
        title: "Enable again",
        text: "They can sign in again with what they had.",
        done: "Enabled.",
    },
    StepRow {
        path: "email",
        act: Act::ChangeEmail,
        title: "Change the mail address",
        text: "Both addresses are told; a setup link that was sent stops working.",
        done: "The mail address was changed.",
    },
    StepRow {
        path: "rights",
        act: Act::SetRights,
        title: "Change the rights",
        text: "They hold from the next click on. Nobody gives a right that they have not.",
        done: "The rights were changed.",
    },
    StepRow {
        path: "notices",
        act: Act::SetNotices,
        title: "Change the notices",
        text: "What they are told of by mail.",
        done: "The notices were changed.",
    },
    StepRow {
        path: "use-codes",
        act: Act::RaiseAuthSystem,
        title: "Ask for one-time passwords",
        text: "From the next sign-in on an authenticator must be registered.",
        done: "One-time passwords are asked for from now on.",
    },
    StepRow {
        path: "use-password",
        act: Act::LowerAuthSystem,
        title: "Ask for a password alone",
        text: "The authenticator is taken away, all sessions end, and the password must be changed at the next sign-in.",
        done: "A password alone is asked for from now on.",
    },
];

pub(super) fn step_of(path: &str) -> Result<&'static StepRow, Oops> {
    STEPS.iter().find(|row| row.path == path).ok_or(Oops::NotFound)
}
