// Logs in to Doorward from a page: WebCrypto has RSA-OAEP and no PKCS#1 v1.5, so the padding is named.
// WebCrypto needs a secure context: https, or a page from 127.0.0.1 or localhost.

const state = document.querySelector("#state");
const forms = Object.fromEntries([...document.forms].map((form) => [form.id, form]));

/** The connection in use, the password for as long as it may have to be changed, and whether it must be. */
let socket;
let password;
let mustChange = false;

function show(text, form) {
  state.textContent = text;
  for (const one of Object.values(forms)) one.hidden = one !== form;
}

function note(answer) {
  const line = document.createElement("li");
  line.textContent = JSON.stringify(answer);
  document.querySelector("#answers").append(line);
}

function open(url) {
  return new Promise((resolve, reject) => {
    const opening = new WebSocket(url);
    opening.onopen = () => resolve(opening);
    opening.onerror = () => reject(new Error(`cannot connect to ${url}`));
    opening.onclose = (event) => {
      note({ closed: event.code });
      socket = undefined;
      password = undefined;
      show(state.textContent.startsWith("refused") ? state.textContent : "closed", forms.login);
    };
  });
}

/** Sends one message and gives back its answer. */
function ask(message) {
  return new Promise((resolve, reject) => {
    socket.addEventListener("close", () => reject(new Error("the connection was closed")), { once: true });
    socket.onmessage = (event) => {
      const answer = JSON.parse(event.data);
      note(answer);
      resolve(answer);
    };
    socket.send(JSON.stringify(message));
  });
}

const bytes = (base64) => Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
const base64 = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));

/** Encrypts passwords with a fresh key; a key lives for about a minute, and a ciphertext counts once. */
async function encrypt(...passwords) {
  const challenge = await ask({ type: "challenge" });
  const algorithm = { name: "RSA-OAEP", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("spki", bytes(challenge.key), algorithm, false, ["encrypt"]);
  const seal = (text) => crypto.subtle.encrypt({ name: "RSA-OAEP" }, key, new TextEncoder().encode(text));
  return Promise.all(passwords.map(async (text) => base64(await seal(text))));
}

async function login(form) {
  password = form.password.value;
  mustChange = false;
  form.password.value = "";
  show("connecting");
  socket = await open(form.url.value);
  const [pass] = await encrypt(password);
  const request = { type: "login", userid: form.userid.value, pass, padding: "OAEP-SHA256" };
  if (form.code.value) request["2fatoken"] = form.code.value;
  form.code.value = "";
  await proceed(await ask(request));
}

/** What an answer asks for next. */
async function proceed(answer) {
  if (answer.password === "change required") mustChange = true;
  if (answer["2fa"] === "required") {
    show(answer.result === "OK" ? "code required" : answer.result, forms.code);
  } else if (answer.result !== "OK") {
    show(`refused: ${answer.reason ?? answer.result}`, answer.type === "adduser" ? forms.change : undefined);
  } else if (mustChange) {
    show("password change required", forms.change);
  } else {
    password = undefined;
    await ask({ type: "ping" });
    show("logged in", forms.leave);
  }
}

async function sendCode(form) {
  const code = form.code.value;
  form.code.value = "";
  await proceed(await ask({ type: "send2fatoken", "2fatoken": code }));
}

async function change(form) {
  const [pass, newpass] = await encrypt(password, form.newpass.value);
  form.newpass.value = "";
  const answer = await ask({ type: "adduser", updateprof: true, pass, newpass, padding: "OAEP-SHA256" });
  if (answer.result === "OK") mustChange = false;
  await proceed(answer);
}

function leave() {
  socket.send(JSON.stringify({ type: "logout" }));
}

for (const [id, act] of Object.entries({ login, code: sendCode, change, leave })) {
  forms[id].addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await act(forms[id].elements);
    } catch (fault) {
      if (!state.textContent.startsWith("refused")) show(fault.message, forms.login);
    }
  });
}
