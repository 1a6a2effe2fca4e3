// Follow events of the gateway from a page, across breaks, without missing one.
//
//   const stop = follow("wss://gateway.example", () => token(), ["tag:slack:channels"], (event) => refetch(event.topic));
//
// `token` is asked before each connection, so that it may be a fresh one. A `gap` means: what was missed is gone, look anew.

export function follow(gateway, token, topics, onEvent) {
  let lastId = null;
  let socket = null;
  let stopped = false;
  let pause = 0;

  async function open() {
    if (stopped) return;
    socket = new WebSocket(`${gateway}/ws/events/`, ["bearer", await token()]);
    socket.onopen = () => {
      const subscribe = { type: "subscribe", topics };
      if (lastId) subscribe.last_id = lastId; // what was missed comes first
      socket.send(JSON.stringify(subscribe));
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      lastId = message.id ?? message.last_id ?? lastId;
      if (message.type === "restart") pause = message.retry_in * 1000;
      if (message.id || message.type === "gap") onEvent(message);
    };
    socket.onclose = () => {
      setTimeout(open, pause || 500 + Math.random() * 4500);
      pause = 0;
    };
  }

  open();
  return () => {
    stopped = true;
    socket?.close();
  };
}
