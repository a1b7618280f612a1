// Updates the page; runs once, when the document is ready. Arguments, from page.py: the sources, the figures whose
// ranges follow the names, and the time between two requests.
const shown = {run: null, in_flight: [], workers: [], n_workers: 0}
const MB = 1024 * 1024
const GIVE_UP_MILLISECONDS = 10000

const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`)
const count = (n) => Math.round(n).toLocaleString("en-US")
const megabytes = (n) => (n / MB).toLocaleString("en-US", {minimumFractionDigits: 1, maximumFractionDigits: 1})

function clock(seconds) {
  const whole = Math.floor(seconds)
  const two = (n) => String(n).padStart(2, "0")
  return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`
}

function headlineOf(run, n_workers) {
  if (run == null)
    return `No flow has run on this scheduler yet. ${n_workers} workers.`
  const n_failed = Object.values(run.failures).reduce((a, b) => a + b, 0)
  const parts = [
    `<b>${escaped(run.flow)}</b> ${escaped(run.status)}`,
    `${count(run.files_done)} of ${count(run.files)} files`,
    `${count(n_failed)} failed`,
    `${run.files_per_second.toFixed(1)} files/s`,
  ]
  if (run.seconds_left != null)
    parts.push(`about ${clock(run.seconds_left)} left`)
  parts.push(`${megabytes(run.bytes_encoded)} MB encoded`)
  parts.push(`${megabytes(run.bytes_merged)} MB merged in ${count(run.shards_written)} shards`)
  parts.push(`${n_workers} workers`)
  return parts.join(" &nbsp;·&nbsp; ")
}

// Only what has changed is set: each change makes Bokeh draw.
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b)
const columns = (rows, names) => Object.fromEntries(names.map((name) => [name, rows.map((row) => row[name])]))
function setData(source, data) {
  if (!same(source.data, data))
    source.data = data
}
function setTable(source, data) {
  if (!same(source.data, data)) {
    source.data = Object.fromEntries(Object.keys(data).map((name) => [name, []]))
    source.data = data // after an empty one: a table with as many rows as before would not be redrawn
  }
}
function setNames(figure, names) {
  const factors = [...names].reverse() // top to bottom, as a reader goes
  if (!same(figure.y_range.factors, factors))
    figure.y_range.factors = factors
}

const draw = {
  run() {
    const rows = Object.entries(shown.run?.tasks ?? {}).map(([task, counts]) => ({task, ...counts}))
    setNames(progress_figure, rows.map((t) => t.task))
    setData(tasks, columns(rows, ["task", ...states]))
    setTable(failures, {kind: Object.keys(shown.run?.failures ?? {}), n: Object.values(shown.run?.failures ?? {})})
  },
  in_flight() {
    setTable(in_flight, columns(shown.in_flight, ["seconds", "file", "task", "host"]))
  },
  workers() {
    const workers = [...shown.workers].sort((a, b) => (a.worker < b.worker ? -1 : 1))
    setNames(memory_figure, workers.map((w) => w.worker))
    setData(memory, columns(workers, ["worker", "own", "child"]))
  },
}

function apply(changes) {
  Object.assign(shown, changes)
  for (const name of Object.keys(changes))
    draw[name]?.()
  const text = headlineOf(shown.run, shown.n_workers)
  if (headline.text !== text)
    headline.text = text
}

// One request at a time, and none while the page is hidden.
const address = new URL("dflow/live", window.location.href)
address.protocol = address.protocol.replace("http", "ws")
let socket = null
let requested = null // the time of the request that waits for its reply

function request() {
  requested = Date.now()
  socket.send("")
}
function connect() {
  requested = null
  socket = new WebSocket(address)
  socket.onopen = request
  socket.onmessage = (message) => {
    requested = null
    apply(JSON.parse(message.data))
  }
}
function update() {
  if (document.hidden)
    return
  if (socket == null || socket.readyState === WebSocket.CLOSED)
    connect()
  else if (socket.readyState === WebSocket.OPEN && requested == null)
    request()
  else if (requested != null && Date.now() - requested > GIVE_UP_MILLISECONDS)
    socket.close()
}
setInterval(update, update_milliseconds)
document.addEventListener("visibilitychange", update)
update()
