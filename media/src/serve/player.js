'use strict';
// Plays one stream: WebSocket messages (media/src/serve/live.rs says what is in them) to a WebCodecs decoder to a canvas, each picture
// as soon as it is decoded. No picture is held.

const VERSION = 1, KEY = 1, HEAD_BYTES = 18;
const RECONNECT_MS = [250, 500, 1000, 2000];
const PING_MS = 1000;
// The best of so many round trips tells the offset: clocks drift little in half a minute.
const PINGS_KEPT = 30;
// A decoder that is further behind has lost the race: go on from the next key picture.
const QUEUE_MAX = 15;
// A picture with holes can be too much for a decoder. One that fails so often in a row, with each key picture, will not do better.
const FAILURES_MAX = 3;
const FIGURES_OVER_MS = 5000, CHART_OVER_MS = 20000;

const stream = document.body.dataset.stream;
const at = id => document.getElementById(id);
const screen2d = at('screen').getContext('2d', { alpha: false, willReadFrequently: true });
const now_us = () => (performance.timeOrigin + performance.now()) * 1000;

let socket, decoder, codec, waitForKey = true, attempts = 0, isFinal = false;
// No picture can be expected, for a reason that is said.
let failures = 0, isUnsupported = false;
let shown = 0, skipped = 0;
const pings = new Map();
let trips = [];
// Of each picture: when it was drawn (ms since the page began), its delay in ms or null, its bytes.
let drawn = [];
const bytesOf = new Map();

function say(text, kind = '') {
  const message = at('message');
  if (message.textContent !== text) message.textContent = text;
  message.className = kind;
}

// ---- clock ----

// Server's clock minus this browser's in µs, and how far it may be off.
function offset() {
  if (!trips.length) return null;
  const best = trips.reduce((a, b) => (b.rtt < a.rtt ? b : a));
  return { us: best.offset, uncertain: best.rtt / 2 };
}

function ping() {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const id = Math.floor(Math.random() * 2 ** 31);
  pings.set(id, now_us());
  socket.send(JSON.stringify({ type: 'ping', id }));
}

function pong({ id, time_us }) {
  const sent = pings.get(id);
  pings.delete(id);
  if (sent === undefined) return;
  const received = now_us();
  trips.push({ rtt: received - sent, offset: time_us - (sent + received) / 2 });
  trips = trips.slice(-PINGS_KEPT);
}

// ---- code strip ----

function crc16(bytes) {
  let crc = 0xffff;
  for (const byte of bytes) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc;
}

// Capture time in units of 100 µs (32 bits) and frame number, from the camera's strip: 40 columns, 2 rows, at the bottom of the picture
// (wire/src/code_strip.rs). null where there is none that can be read.
function readStrip(context, width, height) {
  const columns = 40, rows = 2;
  const side = Math.floor((width + columns / 2) / columns);
  const top = height - rows * side;
  if (side < 1 || top < 0) return null;
  const { data } = context.getImageData(0, top, width, rows * side);
  const edge = column => Math.floor((column * width + columns / 2) / columns);
  const inner = (start, end) => { const border = (end - start) >> 2; return [start + border, end - border]; };
  const means = [];
  for (let row = 0; row < rows; row++) {
    const [y0, y1] = inner(row * side, (row + 1) * side);
    for (let column = 0; column < columns; column++) {
      const [x0, x1] = inner(edge(column), edge(column + 1));
      let sum = 0;
      // The strip is grey: one colour speaks for all.
      for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) sum += data[(y * width + x) * 4 + 1];
      means.push(sum / ((y1 - y0) * (x1 - x0)));
    }
  }
  const dark = Math.min(...means), bright = Math.max(...means);
  if (bright - dark < 60) return null;
  const bytes = new Uint8Array(10);
  means.forEach((mean, bit) => { if (mean > (dark + bright) / 2) bytes[bit >> 3] |= 0x80 >> (bit & 7); });
  const view = new DataView(bytes.buffer);
  if (bytes[0] !== 0xc5 || crc16(bytes.subarray(0, 8)) !== view.getUint16(8)) return null;
  return { time: view.getUint32(1), frame: (bytes[5] << 16) | (bytes[6] << 8) | bytes[7] };
}

// Of all times that the 32 bits can mean, the one nearest to now; in µs.
function expand(time, now) {
  const units = Math.round(now / 100);
  const ahead = (time - (units % 2 ** 32)) | 0;
  return (units + ahead) * 100;
}

// ---- what the viewer sees ----

// Told once a second where the server asks for it, by the rules of `forestall play` (media/src/play/viewing.rs).
const REPORT_MS = 1000, STEP_MS = 10, HELD_UP_MS = 10000, TIME_MAX_MS = 3600000;
const USUAL = 30, FREEZE_TIMES = 3, FREEZE_MORE_MS = 150;
// Where more than two pings wait for the connection, a report would be no news when it comes.
const BUFFERED_MAX = 100;
let isAsked = false;
// Times in ms since the page began. The picture on the screen: since when it is there, and when it was taken by the server's clock in
// µs, or null.
const seen = { since: 0, looked: 0, picture: null, ages: [], intervals: [], usual: [], frames: 0, freezes: 0 };

function beginReport(now) {
  Object.assign(seen, { since: now, ages: [], intervals: [], frames: 0, freezes: 0 });
}

// Time has passed: looks at the picture that was there.
function look(now) {
  if (document.hidden || now - seen.looked > HELD_UP_MS) {
    // Nobody was there to look.
    Object.assign(seen, { looked: now, picture: null });
    beginReport(now);
  }
  const clock = offset();
  for (; now - seen.looked >= STEP_MS; seen.looked += STEP_MS) {
    const captured = seen.picture?.captured ?? null;
    if (clock === null || captured === null) continue;
    const server = (performance.timeOrigin + seen.looked + STEP_MS) * 1000 + clock.us;
    seen.ages.push(Math.min((server - captured) / 1000, TIME_MAX_MS));
  }
}

function see(captured, now) {
  look(now);
  if (seen.picture) {
    const ms = Math.min(now - seen.picture.since, TIME_MAX_MS);
    const usual = seen.usual.reduce((sum, one) => sum + one, 0) / seen.usual.length;
    if (seen.usual.length && ms > usual * FREEZE_TIMES && ms > usual + FREEZE_MORE_MS) seen.freezes++;
    seen.intervals.push(ms);
    seen.usual = [...seen.usual.slice(1 - USUAL), ms];
  }
  seen.picture = { captured, since: now };
  seen.frames++;
}

// By nearest rank.
function spread(values) {
  if (!values.length) return null;
  values.sort((a, b) => a - b);
  const at = share => values[Math.ceil(values.length * share) - 1];
  return { median: at(0.5), p95: at(0.95), max: values.at(-1) };
}

function report() {
  const now = performance.now();
  look(now);
  if (isAsked && !document.hidden && socket.readyState === WebSocket.OPEN && socket.bufferedAmount < BUFFERED_MAX) {
    const { since, frames, freezes, ages, intervals } = seen;
    socket.send(JSON.stringify({
      type: 'report', span_ms: now - since, frames, freezes, picture_age_ms: spread(ages), frame_interval_ms: spread(intervals),
    }));
  }
  beginReport(now);
}

// ---- pictures ----

function draw(frame) {
  const [width, height] = [frame.displayWidth, frame.displayHeight];
  const canvas = at('screen');
  if (canvas.width !== width || canvas.height !== height) { canvas.width = width; canvas.height = height; }
  screen2d.drawImage(frame, 0, 0, width, height);
  const instant = now_us();
  const bytes = bytesOf.get(frame.timestamp) ?? 0;
  bytesOf.delete(frame.timestamp);
  frame.close();
  shown++;
  failures = 0;
  const clock = offset();
  const strip = clock && readStrip(screen2d, width, height);
  const server = clock && instant + clock.us;
  const captured = strip ? expand(strip.time, server) : null;
  const isRepeated = strip && strip.frame === drawn.at(-1)?.frame;
  if (!isRepeated) see(captured, instant / 1000 - performance.timeOrigin);
  const delay = strip ? (server - captured) / 1000 : null;
  drawn.push({ ms: performance.now(), delay, bytes, frame: strip?.frame ?? null });
  say('Live', 'good');
}

function configure(next) {
  codec = next;
  waitForKey = true;
  if (decoder && decoder.state !== 'closed') decoder.close();
  decoder = new VideoDecoder({ output: draw, error: failed });
  try {
    decoder.configure({ codec, optimizeForLatency: true });
  } catch (error) {
    failed(error);
  }
}

// A decoder that fails has closed itself: the next key picture gets another one.
function failed({ message }) {
  failures++;
  if (failures >= FAILURES_MAX) say(`This browser cannot decode ${codec}: ${message}`, 'wrong');
}

function picture(buffer) {
  const view = new DataView(buffer);
  if (view.byteLength <= HEAD_BYTES || view.getUint8(0) !== VERSION || !codec) return;
  const isKey = (view.getUint8(1) & KEY) !== 0;
  if (decoder.state !== 'configured') {
    if (!isKey) { skipped++; return; }
    configure(codec);
    if (decoder.state !== 'configured') return;
  }
  if (decoder.decodeQueueSize > QUEUE_MAX) waitForKey = true;
  if (waitForKey && !isKey) { skipped++; return; }
  waitForKey = false;
  // Ticks of 90 kHz to µs; a wrap after 26.5 hours is one more picture that is out of order.
  const timestamp = Number((view.getBigUint64(2) * 100n) / 9n);
  bytesOf.set(timestamp, buffer.byteLength - HEAD_BYTES);
  if (bytesOf.size > 100) bytesOf.clear();
  decoder.decode(new EncodedVideoChunk({ type: isKey ? 'key' : 'delta', timestamp, data: new Uint8Array(buffer, HEAD_BYTES) }));
}

// ---- connection ----

async function whyNot() {
  try {
    const answer = await fetch(`/live/${stream}${location.search}`, { cache: 'no-store' });
    if (answer.status === 401) { isFinal = true; return 'A token is needed to watch: add ?token=… to the address.'; }
    if (answer.status === 404) return 'This stream is not published. Waiting for it …';
    if (answer.status === 503) return 'The server has as many viewers as it may have. Waiting …';
    return 'The connection was lost. Connecting again …';
  } catch { return 'The server does not answer. Trying again …'; }
}

function connect() {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  socket = new WebSocket(`${scheme}://${location.host}/live/${stream}${location.search}`);
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => { attempts = 0; isAsked = false; pings.clear(); ping(); setTimeout(ping, 100); setTimeout(ping, 300); say('Waiting for a picture …'); };
  socket.onmessage = ({ data }) => {
    if (typeof data !== 'string') { picture(data); return; }
    const said = JSON.parse(data);
    if (said.type === 'pong') pong(said);
    else if (said.type === 'config') { failures = 0; isUnsupported = false; configure(said.codec); }
    else if (said.type === 'report') isAsked = true;
    else if (said.type === 'unsupported') {
      isUnsupported = true;
      const who = said.codec === 'MPEG-2' ? 'browsers do' : 'this page does';
      say(`This stream is ${said.codec}, which ${who} not decode. Publish it as H.264 (forestall capture --codec h264), or play /${stream}.ts with another player.`, 'wrong');
    }
  };
  socket.onclose = async () => {
    say(await whyNot(), 'wrong');
    if (isFinal) return;
    setTimeout(connect, RECONNECT_MS[Math.min(attempts++, RECONNECT_MS.length - 1)]);
  };
}

// ---- figures ----

const quantile = (sorted, q) => (sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : null);
const sorted = values => values.filter(value => value !== null).sort((a, b) => a - b);

function put(id, value, unit, digits = 1) {
  const element = at(id);
  element.textContent = value === null ? '–' : value.toFixed(digits);
  element.dataset.value = value === null ? '' : value;
  if (value !== null && unit) element.append(Object.assign(document.createElement('small'), { textContent: ` ${unit}` }));
}

function figures() {
  const now = performance.now();
  drawn = drawn.filter(one => now - one.ms < CHART_OVER_MS);
  const recent = drawn.filter(one => now - one.ms < FIGURES_OVER_MS);
  const delays = sorted(recent.map(one => one.delay));
  put('delay', quantile(delays, 0.5), 'ms');
  put('p95', quantile(delays, 0.95), 'ms');
  const clock = offset();
  put('offset', clock && -clock.us / 1000, clock ? `ms ± ${(clock.uncertain / 1000).toFixed(1)}` : '', 1);
  put('frames', shown, skipped ? `shown, ${skipped} skipped` : 'shown', 0);
  const intervals = sorted(recent.slice(1).map((one, index) => one.ms - recent[index].ms));
  put('interval', quantile(intervals, 0.5), 'ms');
  const seconds = recent.length > 1 ? (recent.at(-1).ms - recent[0].ms) / 1000 : 0;
  put('rate', seconds > 0.5 ? recent.slice(1).reduce((sum, one) => sum + one.bytes, 0) * 8 / seconds / 1e6 : null, 'Mbit/s', 2);
  // Nothing came for a while though the connection stands.
  const isExpected = !isUnsupported && failures < FAILURES_MAX;
  if (isExpected && socket?.readyState === WebSocket.OPEN && drawn.length && now - drawn.at(-1).ms > 1000) say('Nothing comes from the publisher. Waiting …', 'wrong');
  chart(now);
}

function chart(now) {
  const canvas = at('chart'), context = canvas.getContext('2d');
  const style = getComputedStyle(document.documentElement);
  const [ink, line, live] = ['--faint', '--line', '--live'].map(name => style.getPropertyValue(name));
  const [width, height, left, bottom] = [canvas.width, canvas.height, 76, 20];
  context.clearRect(0, 0, width, height);
  const points = drawn.filter(one => one.delay !== null);
  const most = points.reduce((most, one) => Math.max(most, one.delay), 10);
  const step = [5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find(step => most / step <= 4) ?? 10000;
  const top = Math.ceil(most / step) * step;
  const x = ms => left + (1 - (now - ms) / CHART_OVER_MS) * (width - left - 8);
  const y = delay => (1 - delay / top) * (height - bottom - 8) + 8;
  context.font = '13px system-ui, sans-serif';
  context.lineWidth = 1;
  for (let value = 0; value <= top; value += step) {
    context.strokeStyle = line;
    context.beginPath(); context.moveTo(left, y(value)); context.lineTo(width - 8, y(value)); context.stroke();
    context.fillStyle = ink; context.textAlign = 'right'; context.fillText(`${value} ms`, left - 6, y(value) + 4);
  }
  context.strokeStyle = live; context.lineWidth = 1.6;
  context.beginPath();
  points.forEach((one, index) => context[index ? 'lineTo' : 'moveTo'](x(one.ms), y(Math.max(one.delay, 0))));
  context.stroke();
}

if (!('VideoDecoder' in window)) {
  say(window.isSecureContext
    ? 'This browser has no WebCodecs, which this page decodes video with.'
    : 'Browsers decode video for a page only over https:// or on this same machine (http://localhost): start the server with --tls-cert and --tls-key.', 'wrong');
} else {
  connect();
  setInterval(ping, PING_MS);
  setInterval(figures, 250);
  setInterval(report, REPORT_MS);
}
