// The page: tabs, keys, and the views.

import * as ask from './ask.js'
import { $, h } from './dom.js'
import * as live from './live.js'
import * as rules from './rules.js'

const VIEWS = { ask, rules, live }

/** Shows a view; the others rest. */
export function show(name) {
  for (const [other, view] of Object.entries(VIEWS)) {
    const chosen = other === name
    const tab = $(`tab-${other}`)
    tab.setAttribute('aria-selected', chosen)
    tab.tabIndex = chosen ? 0 : -1
    $(other).hidden = !chosen
    if (chosen) view.enter()
    else view.leave()
  }
}

for (const name of Object.keys(VIEWS)) {
  $(`tab-${name}`).addEventListener('click', () => show(name))
  $(`tab-${name}`).addEventListener('keydown', (event) => {
    const names = Object.keys(VIEWS)
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key]
    if (!step) return
    const next = names[(names.indexOf(name) + step + names.length) % names.length]
    show(next)
    $(`tab-${next}`).focus()
  })
}

const KEYS = [
  ['1 2 3', 'Ask, Rules, Live', null],
  ['/', 'what was heard', () => to('query')],
  ['u', 'the user', () => to('user')],
  ['Enter', 'in a field: ask', null],
  ['↑ ↓', 'in the candidates: go through them', null],
  ['g', 'to the candidates', () => { show('ask'); ask.toCandidates() }],
  ['p', 'pin the candidate that is marked', () => ask.rule('Pin')],
  ['b', 'block it', () => ask.rule('Block')],
  ['c', 'compare two bundles', () => { show('ask'); ask.compare() }],
  ['m', 'what is remembered of the user (this is logged)', () => { show('ask'); ask.remembered() }],
  ['?', 'these keys', () => help()],
  ['Esc', 'close, or leave a field', null],
]

function to(field) {
  show('ask')
  $(field).focus()
  $(field).select()
}

function help() {
  const dialog = $('help')
  dialog.replaceChildren(
    h('h2', { id: 'help-title' }, 'Keys'),
    h('dl', { class: 'keys' }, KEYS.map(([keys, what]) => [h('dt', {}, keys.split(' ').map((key) => h('kbd', {}, key))), h('dd', {}, what)])),
    h('form', { method: 'dialog' }, h('button', { class: 'main', autofocus: true }, 'Close')),
  )
  dialog.showModal()
}

$('help-button').addEventListener('click', help)

document.addEventListener('keydown', (event) => {
  const typing = event.target.closest('input, textarea, select')
  if (event.key === 'Escape' && typing && !event.target.closest('dialog')) return event.target.blur()
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return
  const view = ['ask', 'rules', 'live'][Number(event.key) - 1]
  const action = view ? () => show(view) : KEYS.find(([key]) => key === event.key)?.[2]
  if (!action) return
  event.preventDefault()
  action()
})

ask.start()
show('ask')
