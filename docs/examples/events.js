// Follow the gateway's events from a page, resuming after each disconnect.
//
//   const stop = follow("wss://gateway.example", () => token(), ["tag:slack:channels"], (event) => refetch(event.topic));
//
// `token` is called before each connection and can return a new one. A `gap` means that missed events are no longer
// available: refetch.

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
      if (lastId) subscribe.last_id = lastId; // replay missed events first
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
