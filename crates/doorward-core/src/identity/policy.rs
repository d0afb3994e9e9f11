//! What is asked of people: venue → firm → person, and only ever stricter downwards.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::totp::Algorithm;

/// How somebody proves who they are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthSystem {
    /// A password alone.
    Password,
    /// A password and a one-time password.
    Otp,
}

impl AuthSystem {
    /// The name in answers and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::Otp => "otp",
        }
    }

    /// The system of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Password, Self::Otp].into_iter().find(|system| system.name() == name)
    }
}

/// One level's policy, the venue's or a firm's. What is absent is the level above's.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Counts the settings of this policy; a setting names the one it replaces.
    pub version: u32,
    /// Fewest code points of a password that is the only factor (P1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_chars_min: Option<u16>,
    /// Fewest code points of a password beside a one-time password (P1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_chars_min_with_otp: Option<u16>,
    /// Everybody but service users needs a one-time password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otp_demanded: Option<bool>,
    /// PKCS#1 v1.5 is accepted for encrypted passwords (E5).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pkcs1_allowed: Option<bool>,
    /// Hours until an initial password expires (P11).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub initial_password_h: Option<u16>,
    /// Wrong passwords from one source before it must wait (S3).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_passwords_source_max: Option<u16>,
    /// Wrong passwords in a row for a person over all sources (S4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_passwords_person_max: Option<u16>,
    /// Wrong codes in a row before the authenticator must wait (T10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_codes_back_off: Option<u8>,
    /// Wrong codes in a row before the authenticator is locked (T10).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wrong_codes_lock: Option<u8>,
    /// Digits of one-time passwords of new authenticators: 6 or 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totp_digits: Option<u8>,
    /// Algorithm of new authenticators.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totp_algorithm: Option<Algorithm>,
    /// Minutes for which a setup link works (K5): 15 to 43,200. A firm's value holds before the venue's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_link_min: Option<u16>,
    /// Administrators may have a setup link shown, to copy it, or a seed over WebSocket. Off unless set; the venue's `false`
    /// holds for all firms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub show_setup_link: Option<bool>,
    /// Who set or saw an initial password cannot have the link shown: it is mailed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_handover: Option<bool>,
    /// Nobody registers without a setup link. Where nobody set it: on where mail is set up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registration_needs_link: Option<bool>,
    /// People get recovery codes when they register (T16). On unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_codes: Option<bool>,
    /// A password alone may be chosen for people. On unless set; `otp_demanded` rules it out as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_alone: Option<bool>,
    /// Minutes after which an idle browser session of the portal ends: 1 to 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portal_idle_min: Option<u16>,
}

/// The policy in force for somebody: every field has a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effective {
    /// See [`Policy::password_chars_min`].
    pub password_chars_min: u16,
    /// See [`Policy::password_chars_min_with_otp`].
    pub password_chars_min_with_otp: u16,
    /// See [`Policy::otp_demanded`].
    pub otp_demanded: bool,
    /// See [`Policy::pkcs1_allowed`].
    pub pkcs1_allowed: bool,
    /// See [`Policy::initial_password_h`].
    pub initial_password_h: u16,
    /// See [`Policy::wrong_passwords_source_max`].
    pub wrong_passwords_source_max: u16,
    /// See [`Policy::wrong_passwords_person_max`].
    pub wrong_passwords_person_max: u16,
    /// See [`Policy::wrong_codes_back_off`].
    pub wrong_codes_back_off: u8,
    /// See [`Policy::wrong_codes_lock`].
    pub wrong_codes_lock: u8,
    /// See [`Policy::totp_digits`].
    pub totp_digits: u8,
    /// See [`Policy::totp_algorithm`].
    pub totp_algorithm: Algorithm,
    /// See [`Policy::setup_link_min`].
    pub setup_link_min: u16,
    /// See [`Policy::show_setup_link`].
    pub show_setup_link: bool,
    /// See [`Policy::split_handover`].
    pub split_handover: bool,
    /// See [`Policy::registration_needs_link`]; `None`: nobody set it.
    pub registration_needs_link: Option<bool>,
    /// See [`Policy::recovery_codes`].
    pub recovery_codes: bool,
    /// See [`Policy::password_alone`].
    pub password_alone: bool,
    /// See [`Policy::portal_idle_min`].
    pub portal_idle_min: u16,
}

impl Default for Effective {
    /// The floor: what holds where nobody set anything, and what nobody can loosen.
    fn default() -> Self {
        Self {
            password_chars_min: 15,
            password_chars_min_with_otp: 12,
            otp_demanded: false,
            pkcs1_allowed: true,
            initial_password_h: 72,
            wrong_passwords_source_max: 5,
            wrong_passwords_person_max: 100,
            wrong_codes_back_off: 5,
            wrong_codes_lock: 10,
            totp_digits: 6,
            totp_algorithm: Algorithm::Sha1,
            setup_link_min: 72 * 60,
            show_setup_link: false,
            split_handover: false,
            registration_needs_link: None,
            recovery_codes: true,
            password_alone: true,
            portal_idle_min: 30,
        }
    }
}

/// A policy that cannot be set, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadPolicy {
    /// The field.
    pub field: &'static str,
    /// What was given.
    pub given: String,
    /// What is allowed.
    pub allowed: String,
}

impl Effective {
    /// What is in force under the venue's policy and, where there is one, a firm's. Field by field the stricter
    /// value holds, so that a level below can never loosen, whatever is stored.
    pub fn of(venue: &Policy, firm: Option<&Policy>) -> Self {
        let site = Self::default().tightened(venue);
        let inside = firm.map_or(site, |policy| site.tightened(policy));
        // The desk gives this to a firm, or withholds it from all: nothing is tightened.
        let shown = firm.and_then(|policy| policy.show_setup_link) == Some(true);
        Self { show_setup_link: shown && venue.show_setup_link != Some(false), ..inside }
    }

    /// Whether nobody registers without a setup link; where nobody said, wherever a link can be mailed.
    pub fn link_needed(&self, mail_is_set_up: bool) -> bool {
        self.registration_needs_link.unwrap_or(mail_is_set_up)
    }

    /// The same with that said, for whoever does not know of the mail server.
    #[must_use]
    pub fn settled(self, mail_is_set_up: bool) -> Self {
        Self { registration_needs_link: Some(self.link_needed(mail_is_set_up)), ..self }
    }

    fn tightened(self, by: &Policy) -> Self {
        Self {
            password_chars_min: raise(self.password_chars_min, by.password_chars_min),
            password_chars_min_with_otp: raise(
                self.password_chars_min_with_otp,
                by.password_chars_min_with_otp,
            ),
            otp_demanded: self.otp_demanded || by.otp_demanded == Some(true),
            pkcs1_allowed: self.pkcs1_allowed && by.pkcs1_allowed != Some(false),
            initial_password_h: lower(self.initial_password_h, by.initial_password_h),
            wrong_passwords_source_max: lower(self.wrong_passwords_source_max, by.wrong_passwords_source_max),
            wrong_passwords_person_max: lower(self.wrong_passwords_person_max, by.wrong_passwords_person_max),
            wrong_codes_back_off: lower(self.wrong_codes_back_off, by.wrong_codes_back_off),
            wrong_codes_lock: lower(self.wrong_codes_lock, by.wrong_codes_lock),
            totp_digits: raise(self.totp_digits, by.totp_digits),
            totp_algorithm: raise(self.totp_algorithm, by.totp_algorithm),
            setup_link_min: by.setup_link_min.unwrap_or(self.setup_link_min),
            show_setup_link: self.show_setup_link,
            split_handover: self.split_handover || by.split_handover == Some(true),
            registration_needs_link: match (self.registration_needs_link, by.registration_needs_link) {
                (Some(true), _) => Some(true),
                (above, None) => above,
                (Some(false) | None, by) => by,
            },
            recovery_codes: self.recovery_codes && by.recovery_codes != Some(false),
            password_alone: self.password_alone && by.password_alone != Some(false),
            portal_idle_min: lower(self.portal_idle_min, by.portal_idle_min),
        }
    }

    /// Whether a policy may be set under this one: each value in range and none looser.
    pub fn admits(&self, policy: &Policy) -> Result<(), BadPolicy> {
        at_least("password_chars_min", policy.password_chars_min, self.password_chars_min, 128)?;
        let with_otp = policy.password_chars_min_with_otp;
        at_least("password_chars_min_with_otp", with_otp, self.password_chars_min_with_otp, 128)?;
        if self.otp_demanded && policy.otp_demanded == Some(false) {
            return Err(bad("otp_demanded", "false", "true: the level above demands it"));
        }
        if !self.pkcs1_allowed && policy.pkcs1_allowed == Some(true) {
            return Err(bad("pkcs1_allowed", "true", "false: the level above switched it off"));
        }
        at_most("initial_password_h", policy.initial_password_h, 1, self.initial_password_h)?;
        let source = policy.wrong_passwords_source_max;
        at_most("wrong_passwords_source_max", source, 1, self.wrong_passwords_source_max)?;
        let person = policy.wrong_passwords_person_max;
        at_most("wrong_passwords_person_max", person, 5, self.wrong_passwords_person_max)?;
        let back_off = policy.wrong_codes_back_off.map(u16::from);
        at_most("wrong_codes_back_off", back_off, 1, self.wrong_codes_back_off.into())?;
        at_most("wrong_codes_lock", policy.wrong_codes_lock.map(u16::from), 2, self.wrong_codes_lock.into())?;
        if let Some(minutes) = policy.setup_link_min.filter(|minutes| !(15..=43_200).contains(minutes)) {
            return Err(bad("setup_link_min", minutes, "15..=43200"));
        }
        at_most("portal_idle_min", policy.portal_idle_min, 1, self.portal_idle_min)?;
        for (field, on, above) in [
            ("split_handover", policy.split_handover, self.split_handover),
            (
                "registration_needs_link",
                policy.registration_needs_link,
                self.registration_needs_link == Some(true),
            ),
        ] {
            if above && on == Some(false) {
                return Err(bad(field, "false", "true: the level above demands it"));
            }
        }
        for (field, on, above) in [
            ("recovery_codes", policy.recovery_codes, self.recovery_codes),
            ("password_alone", policy.password_alone, self.password_alone),
        ] {
            if !above && on == Some(true) {
                return Err(bad(field, "true", "false: the level above switched it off"));
            }
        }
        match policy.totp_digits {
            None => {}
            Some(digits @ (6 | 8)) if digits >= self.totp_digits => {}
            Some(digits) => {
                return Err(bad("totp_digits", digits, format!("6 or 8, at least {}", self.totp_digits)));
            }
        }
        match policy.totp_algorithm {
            Some(algorithm) if algorithm < self.totp_algorithm => Err(bad(
                "totp_algorithm",
                algorithm.name(),
                format!("{} or stronger", self.totp_algorithm.name()),
            )),
            Some(_) | None => Ok(()),
        }
    }
}

fn raise<T: Ord>(floor: T, by: Option<T>) -> T {
    by.into_iter().fold(floor, Ord::max)
}

fn lower<T: Ord>(ceiling: T, by: Option<T>) -> T {
    by.into_iter().fold(ceiling, Ord::min)
}

fn bad(field: &'static str, given: impl fmt::Display, allowed: impl fmt::Display) -> BadPolicy {
    BadPolicy { field, given: format!("{given}"), allowed: format!("{allowed}") }
}

fn at_least(field: &'static str, given: Option<u16>, floor: u16, most: u16) -> Result<(), BadPolicy> {
    match given {
        Some(value) if value < floor || value > most => Err(bad(field, value, format!("{floor}..={most}"))),
        Some(_) | None => Ok(()),
    }
}

fn at_most(field: &'static str, given: Option<u16>, least: u16, ceiling: u16) -> Result<(), BadPolicy> {
    match given {
        Some(value) if value < least || value > ceiling => {
            Err(bad(field, value, format!("{least}..={ceiling}")))
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_policy() -> impl Strategy<Value = Policy> {
        (
            proptest::option::of(0u16..200),
            proptest::option::of(0u16..200),
            proptest::option::of(any::<bool>()),
            proptest::option::of(any::<bool>()),
            proptest::option::of(0u16..1000),
            proptest::option::of(0u16..1000),
            proptest::option::of(0u16..1000),
            proptest::option::of(0u8..50),
            proptest::option::of(0u8..50),
            proptest::option::of(0u8..12),
        )
            .prop_map(|(a, b, c, d, e, f, g, h, i, j)| Policy {
                version: 1,
                password_chars_min: a,
                password_chars_min_with_otp: b,
                otp_demanded: c,
                pkcs1_allowed: d,
                initial_password_h: e,
                wrong_passwords_source_max: f,
                wrong_passwords_person_max: g,
                wrong_codes_back_off: h,
                wrong_codes_lock: i,
                totp_digits: j,
                ..Policy::default()
            })
    }

    proptest! {
        #[test]
        fn p1_a_firm_may_only_be_stricter_than_the_venue(venue in any_policy(), firm in any_policy()) {
            let site = Effective::of(&venue, None);
            let inside = Effective::of(&venue, Some(&firm));
            prop_assert!(site.password_chars_min >= 15 && site.password_chars_min_with_otp >= 12);
            prop_assert!(inside.password_chars_min >= site.password_chars_min);
            prop_assert!(inside.password_chars_min_with_otp >= site.password_chars_min_with_otp);
            prop_assert!(inside.otp_demanded || !site.otp_demanded);
            prop_assert!(!inside.pkcs1_allowed || site.pkcs1_allowed);
            prop_assert!(inside.initial_password_h <= site.initial_password_h);
            prop_assert!(inside.wrong_passwords_source_max <= site.wrong_passwords_source_max);
            prop_assert!(inside.wrong_passwords_person_max <= site.wrong_passwords_person_max);
            prop_assert!(inside.wrong_codes_back_off <= site.wrong_codes_back_off);
            prop_assert!(inside.wrong_codes_lock <= site.wrong_codes_lock);
        }

        #[test]
        fn what_is_admitted_is_what_is_in_force(venue in any_policy(), firm in any_policy()) {
            let site = Effective::of(&venue, None);
            if site.admits(&firm).is_ok() {
                let inside = Effective::of(&venue, Some(&firm));
                prop_assert_eq!(inside.password_chars_min, firm.password_chars_min.unwrap_or(site.password_chars_min));
                prop_assert_eq!(inside.initial_password_h, firm.initial_password_h.unwrap_or(site.initial_password_h));
                prop_assert_eq!(inside.otp_demanded, firm.otp_demanded.unwrap_or(site.otp_demanded));
            }
        }
    }

    #[test]
    fn a_looser_policy_is_refused_with_its_field_and_range() {
        let loose = Policy { password_chars_min: Some(8), ..Policy::default() };
        let refusal = Effective::default().admits(&loose).unwrap_err();
        assert_eq!(
            (refusal.field, refusal.given.as_str(), refusal.allowed.as_str()),
            ("password_chars_min", "8", "15..=128")
        );
    }
}
