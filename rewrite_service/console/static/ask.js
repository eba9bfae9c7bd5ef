// Asking: the form, and what came of it. Nothing of one answer stays when another is asked for, or another user named.

import { about, call, get } from './api.js'
import { comparison } from './compare.js'
import { $, h, problem } from './dom.js'
import { explained } from './explained.js'
import { memory } from './memory.js'
import { openRule } from './rules.js'

const FOLDER = '/' // no version, and no folder that holds a bundle

let asked = 0 // the number of the last question: an answer to an earlier one is dropped
let shownUser = null
let shown = null // what `explained` made

const value = (id) => $(id).value
const lines = (id) => value(id).split('\n').map((line) => line.trim()).filter(Boolean)

/** The form as the contract's ExplainRequest. Throws an Error that names the field. */
function request() {
  const at = value('time') ? new Date(value('time')).getTime() : Date.now()
  const made = {
    user_id: value('user'), query: value('query'), timestamp_ms: at, channel: value('channel'),
    alternatives: lines('alternatives'),
    context: {
      device_id: value('device_id'), device_type: value('device_type'), has_screen: $('has_screen').checked,
      room: value('room'), locale: value('locale'), device_state: states(),
      location: { city: value('city'), state: value('state') },
    },
  }
  if (value('confidence') !== '') made.asr_confidence = Number(value('confidence'))
  return { request: made, with_caches: true, earlier: lines('earlier').map((line) => turn(line, at)) }
}

function states() {
  return Object.fromEntries(lines('device_state').map((line) => {
    const at = line.indexOf('=')
    if (at < 1) throw new Error('What devices do: write name=value on each line.')
    return [line.slice(0, at), line.slice(at + 1)]
  }))
}

function turn(line, at) {
  const found = /^(\d+(?:\.\d+)?)\s*:\s*(!?)\s*(.+)$/.exec(line)
  if (!found) throw new Error('Turns just before: write seconds ago, a colon, and what was heard, such as "20: !play ago".')
  return {
    timestamp_ms: Math.round(at - 1000 * Number(found[1])), query: found[3], channel: value('channel'),
    outcome: found[2] ? 'OUTCOME_NO_MATCH' : 'OUTCOME_OK', context: { has_screen: $('has_screen').checked },
  }
}

function clear() {
  asked += 1
  shown = shownUser = null
  $('result').replaceChildren(empty())
}

function empty() {
  return h('div', { class: 'empty card' },
    h('p', {}, 'Say who asks and what was heard, then press ', h('kbd', {}, '↵'), '.'),
    h('p', { class: 'quiet' }, 'Nothing is recorded. That you looked is written to the server\'s log.'))
}

/** Runs a question and shows what `draw` makes of the answer, unless another was asked meanwhile. */
async function run(what, draw) {
  clear()
  const number = asked
  const user = value('user')
  const result = $('result')
  result.replaceChildren(h('p', { class: 'waiting card', role: 'status' }, 'Asking…'))
  let made
  try {
    made = draw(await what())
  } catch (error) {
    made = problem(error)
  }
  if (number !== asked) return
  shownUser = user
  result.replaceChildren(made)
}

function ready() {
  return $('asking').reportValidity()
}

export function send() {
  if (!ready()) return
  run(async () => {
    const message = request()
    const [answer, rules] = await Promise.all([call('Explain', message), call('ListRules', {}).catch(() => null)])
    return { message, answer, rules: rules?.rules ?? null }
  }, ({ message, answer, rules }) => {
    shown = explained(message.request, answer, rules, rule)
    return shown.element
  })
}

export function compare() {
  if (!ready()) return
  const bundle = value('other') === FOLDER ? value('folder') : value('other')
  run(async () => {
    if (!bundle && value('other') === FOLDER) throw new Error('Name the folder of the other bundle, as the server\'s machine does, from the root.')
    if (!bundle) throw new Error('There is no other bundle: builds keep the one before (query-rewrite build --keep 1).')
    const message = request()
    return { message, bundle, both: await call('compare', { ask: message, bundle }) }
  }, ({ message, bundle, both }) => comparison(message.request, bundle, both))
}

export function remembered() {
  const user = $('user')
  if (!user.reportValidity()) return
  run(() => call('DescribeUser', { user_id: user.value }), (found) => memory(user.value, found))
}

/** Opens the dialog for a rule about the candidate that is marked, or the one given. */
export function rule(kind, candidate = shown?.marked()) {
  if (shown) openRule(kind, shown.query, candidate?.text ?? '', send)
}

export function toCandidates() {
  document.querySelector('#result [role=listbox]')?.focus()
}

async function bundles() {
  const select = $('other')
  try {
    const found = (await get('bundles')).bundles
    const offered = found.map((version) => h('option', { value: version }, version))
    if ((await about).scopes.includes('admin')) offered.push(h('option', { value: FOLDER }, 'another folder…'))
    const before = select.value
    select.replaceChildren(...offered)
    if (offered.some((option) => option.value === before)) select.value = before
    else if (found.length > 1) select.selectedIndex = 1 // the first stands in the server's place, and is mostly served
  } catch {
    select.replaceChildren()
  }
}

export function start() {
  $('asking').addEventListener('submit', (event) => { event.preventDefault(); send() })
  $('asking').addEventListener('keydown', (event) => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey) && event.target.matches('textarea')) send()
  })
  $('compare-button').addEventListener('click', compare)
  $('other').addEventListener('change', () => { $('folder').hidden = value('other') !== FOLDER })
  $('memory-button').addEventListener('click', remembered)
  $('user').addEventListener('input', () => { if (shownUser !== null && $('user').value !== shownUser) clear() })
  clear()
  $('user').focus()
}

export const enter = bundles
export const leave = () => {}
