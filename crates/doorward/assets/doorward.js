// The one script of portal and console. Loaded in the head, so that the theme is set before anything is painted; the
// rest begins when the page is there. Everything but passwords works without it.
(() => {
  "use strict";

  const root = document.documentElement;
  root.classList.add("script");

  // Theme: the system's choice, unless the viewer said otherwise on this machine.
  const THEME = "doorward-theme";
  const stored = () => {
    try {
      return localStorage.getItem(THEME);
    } catch {
      return null;
    }
  };
  const isDark = () =>
    root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const kept = stored();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  const switchTheme = () => {
    const theme = isDark() ? "light" : "dark";
    root.dataset.theme = theme;
    try {
      localStorage.setItem(THEME, theme);
    } catch {
      // Not kept; it still holds for this page.
    }
  };

  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const own = (element, selector) =>
    element.matches?.(selector) ? [element, ...all(selector, element)] : all(selector, element);

  // Times in the viewer's zone, UTC on hover.
  const near = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const showTimes = (within) => {
    for (const time of own(within, "time[datetime]")) {
      const at = new Date(time.dateTime);
      if (time.title || Number.isNaN(at.getTime())) continue;
      time.title = `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
      time.textContent = near.format(at);
    }
  };

  // A message at the head of the page, read out by screen readers.
  const tell = (text, kind = "bad") => {
    const place = one("#notice");
    if (!place || place.textContent.trim() === text) return;
    const notice = document.createElement("p");
    notice.className = `notice ${kind}`;
    notice.textContent = text;
    place.replaceChildren(notice);
    place.scrollIntoView({ block: "nearest" });
  };

  // Passwords: encrypted here with the server's key, bound to the form's action, the user and this visitor.
  const PASSWORD_BYTES_MAX = 150;
  const bytes = (text) => new TextEncoder().encode(text);
  const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const toBase64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
  const toBase64Url = (buffer) => toBase64(buffer).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

  const challenge = async (page) => {
    const answer = await fetch(`/challenge?page=${encodeURIComponent(page)}`, {
      cache: "no-store",
      credentials: "same-origin",
      headers: { "dw-fetch": "1" },
    });
    if (!answer.ok) throw new Error(`challenge: ${answer.status}`);
    return answer.json();
  };

  const envelope = async (given, password, page, userid) => {
    const algorithm = { name: "RSA-OAEP", hash: "SHA-256" };
    const key = await crypto.subtle.importKey("spki", fromBase64(given.spki), algorithm, false, ["encrypt"]);
    const tag = (await crypto.subtle.digest("SHA-256", bytes(`${page}\0${userid}`))).slice(0, 8);
    const plain = bytes(given.nonce + toBase64Url(tag) + password.normalize("NFKC"));
    const sealed = await crypto.subtle.encrypt({ name: "RSA-OAEP", label: bytes("portal") }, key, plain);
    plain.fill(0);
    return toBase64(sealed);
  };

  const wrong = (input, text) => {
    input.setCustomValidity(text);
    input.reportValidity();
    input.addEventListener("input", () => input.setCustomValidity(""), { once: true });
    return false;
  };

  const isComplete = (form) => {
    for (const input of all("[data-envelope]", form)) {
      if (bytes(input.value.normalize("NFKC")).length > PASSWORD_BYTES_MAX) {
        return wrong(input, "This password is too long: at most 150 bytes.");
      }
    }
    for (const input of all("[data-repeats]", form)) {
      if (input.value !== document.getElementById(input.dataset.repeats).value) {
        return wrong(input, "The two passwords are not the same.");
      }
    }
    return true;
  };

  const bodyOf = async (form, submitter, given, page) => {
    const body = new URLSearchParams(new FormData(form, submitter));
    const userid = one("[data-userid]", form)?.value ?? form.dataset.userid ?? "";
    body.set("csrf", given.csrf);
    body.set("keyid", given.keyid);
    for (const input of all("[data-envelope]", form)) {
      body.set(`${input.dataset.envelope}.ciphertext`, await envelope(given, input.value, page, userid));
    }
    return body;
  };

  // The answer's main part takes the place of this one's.
  const show = (html) => {
    const page = new DOMParser().parseFromString(html, "text/html");
    const main = one("main", page);
    if (!main) return tell("The answer could not be shown. Load the page anew.");
    document.title = page.title;
    one("main").replaceWith(document.adoptNode(main));
    begin(main);
    (one("[data-focus]", main) ?? one("[autofocus]", main) ?? main).focus();
  };

  const post = async (page, body) =>
    fetch(page, {
      method: "POST",
      body,
      cache: "no-store",
      credentials: "same-origin",
      headers: { "dw-fetch": "1" },
    });

  const submit = async (form, submitter) => {
    const page = new URL(form.action).pathname;
    for (let left = 3; left > 0; left -= 1) {
      const answer = await post(page, await bodyOf(form, submitter, await challenge(page), page));
      // The key was replaced between the two requests: once more, unseen.
      if (answer.headers.has("dw-challenge") && left > 1) continue;
      const way = answer.headers.get("dw-go");
      if (way) return location.assign(way);
      return show(await answer.text());
    }
  };

  const onSecretSubmit = async (event, form) => {
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true" || !isComplete(form)) return;
    if (!window.crypto?.subtle) {
      return tell("Your browser encrypts passwords only on a secure connection. Open this page by https.");
    }
    const button = event.submitter ?? one("button[type=submit], button:not([type])", form);
    form.setAttribute("aria-busy", "true");
    button?.setAttribute("aria-busy", "true");
    try {
      await submit(form, event.submitter);
    } catch {
      tell("The server could not be reached. Check your connection and try again.");
    } finally {
      form.removeAttribute("aria-busy");
      button?.removeAttribute("aria-busy");
    }
  };

  const toggleSecret = (button) => {
    const input = document.getElementById(button.dataset.show);
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.textContent = shown ? "Hide" : "Show";
    button.setAttribute("aria-pressed", String(shown));
  };

  const copy = async (button) => {
    const from = document.getElementById(button.dataset.copy);
    const label = button.textContent;
    try {
      await navigator.clipboard.writeText(from.value ?? from.textContent.trim());
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(from);
      button.textContent = "Selected";
    }
    setTimeout(() => {
      button.textContent = label;
    }, 2000);
  };

  const openDialog = (event, link) => {
    const dialog = document.getElementById(link.dataset.dialog);
    if (!dialog?.showModal) return;
    event.preventDefault();
    dialog.showModal();
  };

  // The token of a setup link stands behind the #: no server saw it. It goes into the form, and out of the address.
  const takeFragment = (within) => {
    for (const input of own(within, "input[data-fragment]")) {
      const token = location.hash.slice(1);
      if (token) {
        input.value = token;
        history.replaceState(null, "", location.pathname + location.search);
      }
      for (const note of all("[data-no-fragment]")) note.hidden = input.value !== "";
    }
  };

  // A page that brings in what is new by itself: it can be told not to, and does not grow for ever.
  const ROWS_MAX = 200;
  const isPaused = (element) => one(`[data-pause="${element.id}"]`)?.getAttribute("aria-pressed") === "true";
  const pause = (button) => {
    const paused = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
  };
  const cutRows = (rows) => {
    if (rows.children.length <= ROWS_MAX) return;
    while (rows.children.length > ROWS_MAX) rows.lastElementChild.remove();
    const older = one("#older");
    if (!older) return;
    const path = new URL(older.href);
    path.searchParams.set("before", rows.lastElementChild.dataset.no);
    older.href = path;
  };

  const begin = (within) => {
    showTimes(within);
    takeFragment(within);
    // Opened at once where the server says so: a form in a dialog that came back with something wrong in it.
    for (const dialog of own(within, "dialog[data-open]")) dialog.showModal?.();
  };

  document.addEventListener("click", (event) => {
    const target = event.target instanceof Element ? event.target : null;
    const hit = (selector) => target?.closest(selector);
    if (hit("[data-theme-switch]")) switchTheme();
    else if (hit("[data-show]")) toggleSecret(hit("[data-show]"));
    else if (hit("[data-copy]")) copy(hit("[data-copy]"));
    else if (hit("[data-pause]")) pause(hit("[data-pause]"));
    else if (hit("[data-dialog]")) openDialog(event, hit("[data-dialog]"));
    else if (hit("[data-close]")) {
      const dialog = hit("dialog");
      if (dialog?.open) event.preventDefault();
      dialog?.close();
    }
  });

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (one("[data-envelope]", form)) return void onSecretSubmit(event, form);
    if (form.dataset.sent) return event.preventDefault();
    // A second click does not send it twice; coming back to the page by the browser's button makes it good again.
    if (form.method === "post" && !form.matches("[hx-post]")) form.dataset.sent = "1";
  });
  window.addEventListener("pageshow", () => {
    for (const form of all("form[data-sent]")) delete form.dataset.sent;
  });

  // What htmx puts in, and errors that it would keep to itself.
  document.addEventListener("htmx:afterSwap", (event) => begin(event.target));
  document.addEventListener("htmx:oobAfterSwap", (event) => {
    const rows = event.detail.target;
    begin(rows);
    if (rows.id === "rows") {
      if (one("#none")) one("#none").hidden = true;
      cutRows(rows);
    }
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (isPaused(event.detail.elt)) event.preventDefault();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.getResponseHeader("hx-retarget")) event.detail.shouldSwap = true;
    if (event.detail.xhr.status === 422) event.detail.shouldSwap = true;
  });
  document.addEventListener("htmx:sendError", () => tell("The server could not be reached."));

  document.addEventListener("DOMContentLoaded", () => {
    // A link from another site led here without our cookie: from our own page it comes along. The mark makes it a new
    // address, or a # in it would keep the browser where it is; it is taken away again.
    const bounce = one("a[data-bounce]");
    const here = new URL(location.href);
    if (bounce) {
      here.searchParams.set("here", "1");
      return location.replace(here);
    }
    if (here.searchParams.has("here")) {
      here.searchParams.delete("here");
      history.replaceState(null, "", here);
    }
    // On a phone the ways to other pages scroll: the present one is in sight.
    one(".ways [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
    begin(document);
  });
})();
