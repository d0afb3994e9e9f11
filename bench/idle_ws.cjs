// The peer for idle connections: a WebSocket server that does nothing. Prints its port.
const { WebSocketServer } = require(process.argv[2] + "/ws");
const server = new WebSocketServer({ host: "127.0.0.1", port: 0, backlog: 4096, perMessageDeflate: false });
server.on("connection", (socket) => socket.on("message", () => {}));
server.on("listening", () => console.log(server.address().port));
