// Puts a snapshot of /dflow.json on the page: the adapter of the page's AjaxDataSource. Arguments, from page.py: the other
// sources, the figures whose ranges follow the names, and the limits. Returns the columns of the tasks' bars.
const snapshot = cb_data.response
const MB = 1024 * 1024

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
function setData(source, data) {
  if (!same(source.data, data)) {
    source.data = Object.fromEntries(Object.keys(data).map((name) => [name, []]))
    source.data = data // after none: a table with as many rows as before keeps showing the old ones
  }
}
function setNames(figure, names) {
  const factors = [...names].reverse() // top to bottom, as a reader goes
  if (!same(figure.y_range.factors, factors))
    figure.y_range.factors = factors
}
const columns = (rows, names) => Object.fromEntries(names.map((name) => [name, rows.map((row) => row[name])]))

const workers = [...snapshot.workers]
  .sort((a, b) => b.bytes + b.child_bytes - a.bytes - a.child_bytes)
  .slice(0, workers_shown)
  .map((w) => ({
    worker: `${w.host}:${w.worker.split(":").pop()}`,
    own: Math.round(w.bytes / MB),
    child: Math.round(w.child_bytes / MB),
  }))
  .sort((a, b) => (a.worker < b.worker ? -1 : 1))
setNames(memory_figure, workers.map((w) => w.worker))
setData(memory, columns(workers, ["worker", "own", "child"]))

const running = snapshot.runs.filter((run) => run.status === "running")
const run = (running.length > 0 ? running : snapshot.runs).at(-1)
const text = headlineOf(run, snapshot.workers.length)
if (headline.text !== text)
  headline.text = text

const tasks = Object.entries(run?.tasks ?? {}).map(([task, counts]) => ({task, ...counts}))
setNames(progress_figure, tasks.map((t) => t.task))
setData(failures, {kind: Object.keys(run?.failures ?? {}), n: Object.values(run?.failures ?? {})})
setData(in_flight, columns(run?.in_flight ?? [], ["seconds", "file", "task", "host"]))
return columns(tasks, ["task", ...states])
