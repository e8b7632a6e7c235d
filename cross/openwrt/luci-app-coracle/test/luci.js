/* Stands in for the client side of LuCI in `test`: as much of view, form, ui, uci, fs, dom and poll as the view of coracle uses, by the
 * same names and in the same order of calls. It is not LuCI, and looks only roughly like it. fs and uci ask the server of the test,
 * which runs the real scripts. */
'use strict';

function _(text) {
	return text;
}

String.prototype.format = function(...values) {
	return this.replace(/%(\.\d)?([sdf%])/g, function(all, digits, kind) {
		if (kind == '%')
			return '%';
		const value = values.shift();
		return kind == 'f' ? Number(value).toFixed(Number((digits ?? '.6').slice(1))) : String(value);
	});
};

/* As in LuCI, a string that is a child becomes text only where the node has attributes; so does it here, everywhere. */
function E(tag, attributes, children) {
	if (children === undefined && (attributes instanceof Node || Array.isArray(attributes) || typeof attributes != 'object')) {
		children = attributes;
		attributes = {};
	}
	const node = Array.isArray(tag) ? document.createDocumentFragment() : document.createElement(tag);
	for (const [ name, value ] of Object.entries(attributes ?? {})) {
		if (value == null)
			continue;
		if (typeof value == 'function')
			node.addEventListener(name, value);
		else
			node.setAttribute(name, value);
	}
	dom.append(node, Array.isArray(tag) && !children ? attributes : children);
	return node;
}

const dom = {
	append(node, children) {
		for (const child of Array.isArray(children) ? children : [ children ])
			if (child != null)
				node.append(child instanceof Node ? child : document.createTextNode(child));
	},
	content(node, children) {
		node.replaceChildren();
		dom.append(node, children);
	}
};

const L = {
	bind: (fn, self, ...args) => fn.bind(self, ...args),
	resolveDefault: (promise, value) => Promise.resolve(promise).catch(() => value)
};

async function call(what, argument) {
	const response = await fetch('/' + what, { method: 'POST', body: JSON.stringify(argument ?? null) });
	const answer = await response.json();
	if (!response.ok)
		throw Object.assign(new Error(answer.error), { name: answer.name });
	return answer;
}

const fs = {
	exec: (command, params, env) => call('exec', { command, params: params ?? [], env: env ?? {} })
};

const uci = {
	state: null,
	async load() {
		this.state ??= await call('uci');
	},
	sections(config, type) {
		return Object.entries(this.state).map(([ name, options ]) => ({ '.name': name, ...options }));
	},
	get: (config, section, option) => uci.state?.[section]?.[option],
	set(config, section, option, value) {
		this.state[section][option] = value;
	},
	unset(config, section, option) {
		if (this.state?.[section])
			delete this.state[section][option];
	},
	add(config, type, name) {
		this.state[name] = {};
		return name;
	},
	remove(config, section) {
		delete this.state[section];
	},
	async apply() {
		await call('apply', this.state);
		this.state = null;
	}
};

const poll = {
	add(fn, seconds) {
		fn.timer = setInterval(fn, seconds * 1000);
	},
	remove(fn) {
		clearInterval(fn.timer);
	}
};

const ui = {
	showModal(title, children) {
		ui.hideModal();
		document.body.append(E('div', { id: 'modal_overlay' }, E('div', { 'class': 'modal' }, [ E('h4', {}, title), ...children ])));
	},
	hideModal() {
		document.getElementById('modal_overlay')?.remove();
	},
	addNotification(title, children, kind) {
		document.getElementById('notifications').append(E('div', { 'class': 'alert-message ' + kind }, children));
	},
	/* As there: the button turns until what it began has ended. */
	createHandlerFn(self, method, ...args) {
		return function(event) {
			const button = event.currentTarget;
			button.disabled = true;
			button.classList.add('spinning');
			return Promise.resolve((typeof method == 'string' ? self[method] : method).call(self, ...args, event)).finally(function() {
				button.disabled = false;
				button.classList.remove('spinning');
			});
		};
	}
};

class Base {
	super(method, args) {
		return Object.getPrototypeOf(this)[method].apply(this, args ?? []);
	}
}

class AbstractValue extends Base {
	constructor(map, section, option, title, description) {
		super();
		Object.assign(this, { map, section, option, title, description: description ?? '', deps: [], rmempty: true, choices: [] });
	}
	value(value, text) {
		this.choices.push([ value, text ?? value ]);
	}
	depends(field, value) {
		this.deps.push(typeof field == 'string' ? { [field]: value } : field);
	}
	load(section_id) {
		return uci.get(this.map.config, section_id, this.option);
	}
	cfgvalue(section_id) {
		return uci.get(this.map.config, section_id, this.option);
	}
	textvalue(section_id) {
		return this.cfgvalue(section_id) ?? this.default;
	}
	validate() {
		return true;
	}
	/* Of the widget, which is there while the option is shown. */
	formvalue() {
		return this.widget.value;
	}
	renderWidget(section_id, index, value) {
		const list = this.choices.length ? this.option + '-choices' : null;
		this.widget = E('input', { type: this.password ? 'password' : 'text', name: this.option, placeholder: this.placeholder, list });
		this.widget.value = value ?? '';
		return E('div', {}, [
			this.widget,
			list && E('datalist', { id: list }, this.choices.map(([ choice, text ]) => E('option', { value: choice }, text)))
		]);
	}
	check(section_id) {
		const value = this.formvalue(section_id);
		if (value === '' || value == null || value.length === 0)
			return this.rmempty || this.optional ? true : _('It must not be empty');
		if (this.datatype == 'uinteger' && !/^\d+$/.test(value))
			return _('A number is needed');
		const range = /^range\((\d+),(\d+)\)$/.exec(this.datatype);
		if (range && !(/^\d+$/.test(value) && +value >= +range[1] && +value <= +range[2]))
			return _('A number from %d to %d is needed').format(range[1], range[2]);
		return this.validate(section_id, value);
	}
	parse(section_id) {
		if (!this.active)
			return Promise.resolve(this.remove(section_id));
		const wrong = this.check(section_id);
		if (wrong !== true)
			return Promise.reject(new TypeError('Option "%s" contains an invalid input value. %s'.format(this.title, wrong)));
		const before = this.cfgvalue(section_id), value = this.formvalue(section_id);
		if (value == null || value == '')
			return Promise.resolve(this.remove(section_id));
		if (JSON.stringify(before) == JSON.stringify(value))
			return Promise.resolve();
		return Promise.resolve().then(() => this.write(section_id, value));
	}
	write(section_id, value) {
		uci.set(this.map.config, section_id, this.option, value);
	}
	remove(section_id) {
		uci.unset(this.map.config, section_id, this.option);
	}
}

class Value extends AbstractValue {}

class ListValue extends AbstractValue {
	renderWidget(section_id, index, value) {
		this.widget = E('select', { name: this.option }, this.choices.map(([ choice, text ]) => E('option', { value: choice }, text)));
		this.widget.value = value ?? '';
		return this.widget;
	}
}

class Flag extends AbstractValue {
	renderWidget(section_id, index, value) {
		this.widgets ??= {};
		this.widget = this.widgets[section_id] = E('input', { type: 'checkbox', name: this.option });
		this.widget.checked = value == '1';
		return this.widget;
	}
	/* Off is the default, which is not written where it need not be. */
	formvalue(section_id) {
		return this.widgets[section_id].checked ? '1' : this.rmempty ? '' : '0';
	}
}

class DynamicList extends AbstractValue {
	renderWidget(section_id, index, values) {
		this.widget = E('div', { 'class': 'dynlist', 'data-name': this.option });
		const add = (value) => {
			const input = E('input', { type: 'text' });
			input.value = value;
			input.addEventListener('input', () => input == this.widget.lastChild && input.value && add(''));
			this.widget.append(input);
		};
		[ ...(Array.isArray(values) ? values : values ? [ values ] : []), '' ].forEach(add);
		return this.widget;
	}
	formvalue() {
		return [ ...this.widget.querySelectorAll('input') ].map((input) => input.value).filter((value) => value != '');
	}
}

class DummyValue extends AbstractValue {
	parse() {
		return Promise.resolve();
	}
}

class GridSection extends Base {
	constructor(map, type, title) {
		super();
		Object.assign(this, { map, type, title, children: [], tabs: [] });
	}
	tab(name, title) {
		this.tabs.push([ name, title ]);
	}
	taboption(tab, kind, ...args) {
		const option = new kind(this.map, this, ...args);
		option.tab = tab;
		this.children.push(option);
		return option;
	}
	sections() {
		return uci.sections(this.map.config, this.type).map((section) => section['.name']);
	}
	async render() {
		const columns = this.children.filter((option) => !option.modalonly);
		const rows = [];
		for (const section_id of this.sections())
			rows.push(E('tr', { 'class': 'tr', 'data-section-id': section_id }, [
				E('td', { 'class': 'td name' }, section_id),
				...columns.map((option) => {
					option.active = true;
					const value = option.editable
						? option.renderWidget(section_id, 0, option.cfgvalue(section_id))
						: option.textvalue(section_id);
					return E('td', { 'class': 'td', 'data-title': option.title }, value != null ? value : E('em', _('none')));
				}),
				this.renderRowActions(section_id)
			]));
		const name = E('input', { type: 'text', id: 'new-name', placeholder: _('Name of the job') });
		return E('div', { 'class': 'cbi-section' }, [
			E('h3', {}, this.title),
			E('table', { 'class': 'table' }, [
				E('tr', {}, [ _('Name'), ...columns.map((option) => option.title), '' ].map((title) => E('th', {}, title))),
				...rows
			]),
			E('div', { 'class': 'add' }, [ name, E('button', {
				'class': 'btn cbi-button cbi-button-add',
				'click': () => this.handleAdd(name)
			}, _('Add')) ])
		]);
	}
	renderRowActions(section_id, more) {
		return E('td', { 'class': 'td actions' }, E('div', {}, [
			E('button', { 'class': 'btn cbi-button cbi-button-edit', 'click': () => this.edit(section_id) }, more),
			E('button', {
				'class': 'btn cbi-button cbi-button-remove',
				'click': async () => {
					await this.map.save();
					uci.remove(this.map.config, section_id);
					await this.map.redraw();
				}
			}, _('Delete'))
		]));
	}
	handleAdd(name) {
		const wrong = !/^[A-Za-z0-9_]+$/.test(name.value) || this.sections().includes(name.value);
		name.classList.toggle('invalid', wrong);
		if (!wrong)
			return this.map.save().then(() => this.edit(uci.add(this.map.config, this.type, name.value), true));
	}
	async edit(section_id, fresh) {
		const options = this.children.filter((option) => option.modalonly !== false);
		const fields = {};
		const depends = () => options.forEach((option) => {
			option.active = !option.deps.length || option.deps.some((dep) => Object.entries(dep).every(([ name, value ]) =>
				name[0] == '!' || (options.find((other) => other.option == name).formvalue(section_id) == value) != !!dep['!reverse']));
			fields[option.option].hidden = !option.active;
		});
		for (const option of options) {
			await option.load(section_id);
			const value = option.cfgvalue(section_id) ?? option.default;
			fields[option.option] = E('div', { 'class': 'cbi-value', 'data-tab': option.tab }, [
				E('label', {}, option.title),
				E('div', {}, [ option.renderWidget(section_id, 0, value), E('small', {}, option.description) ])
			]);
		}
		const panes = this.tabs.map(([ name ]) => E('div', { 'data-pane': name }, options.filter((option) => option.tab == name)
			.map((option) => fields[option.option])));
		const show = (name) => {
			panes.forEach((pane) => pane.hidden = pane.getAttribute('data-pane') != name);
			bar.querySelectorAll('li').forEach((tab) => tab.classList.toggle('active', tab.getAttribute('data-tab') == name));
		};
		const bar = E('ul', { 'class': 'cbi-tabmenu' }, this.tabs.map(([ name, title ]) =>
			E('li', { 'data-tab': name, 'click': () => show(name) }, title)));
		const told = E('div', { 'class': 'told' });
		const save = async () => {
			try {
				for (const option of options)
					await option.parse(section_id);
			} catch (error) {
				dom.content(told, E('div', { 'class': 'alert-message danger' }, error.message));
				return;
			}
			ui.hideModal();
			await this.map.save();
			await this.map.redraw();
		};
		const dismiss = async () => {
			if (fresh)
				uci.remove(this.map.config, section_id);
			ui.hideModal();
			await this.map.redraw();
		};
		ui.showModal(this.modaltitle(section_id), [ bar, told, ...panes, E('div', { 'class': 'right' }, [
			E('button', { 'class': 'btn', 'click': dismiss }, _('Dismiss')),
			E('button', { 'class': 'btn cbi-button cbi-button-save', 'click': ui.createHandlerFn(this, save) }, _('Save'))
		]) ]);
		document.querySelector('.modal').addEventListener('input', () => {
			told.replaceChildren();
			depends();
		});
		show(this.tabs[0][0]);
		depends();
	}
	/* Of what stands in the table: jobs that are new have no row yet. */
	async parse() {
		for (const section_id of this.sections())
			for (const option of this.children)
				if (option.editable && !option.modalonly && this.map.node.querySelector(`tr[data-section-id="${section_id}"]`))
					await option.parse(section_id);
	}
}

class Map_ extends Base {
	constructor(config, title, description) {
		super();
		Object.assign(this, { config, title, description, children: [] });
	}
	section(kind, ...args) {
		const section = new kind(this, ...args);
		this.children.push(section);
		return section;
	}
	async render() {
		await uci.load(this.config);
		this.node = E('div', { 'class': 'cbi-map' });
		await this.redraw();
		return this.node;
	}
	async redraw() {
		dom.content(this.node, [
			E('h2', {}, this.title),
			E('div', { 'class': 'cbi-map-descr' }, this.description),
			...await Promise.all(this.children.map((section) => section.render()))
		]);
	}
	async save() {
		for (const section of this.children)
			await section.parse();
	}
}

const form = { Map: class extends Map_ {
	constructor(...args) {
		super(...args);
		form.last = this;
	}
}, GridSection, Flag, Value, ListValue, DynamicList, DummyValue };

const view = { extend: (methods) => methods };

async function start() {
	const source = await (await fetch('/view/coracle.js')).text();
	const required = [ ...source.matchAll(/^'require (\w+)';$/gm) ].map((match) => match[1]);
	const modules = { dom, form, fs, poll, uci, ui, view };
	const names = [ ...required, '_', 'E', 'L' ];
	const shown = new Function(...names, source)(...required.map((name) => modules[name]), _, E, L);
	dom.content(document.getElementById('view'), await shown.render(await shown.load()));
	document.getElementById('apply').addEventListener('click', ui.createHandlerFn(shown, async function() {
		await form.last.save();
		await uci.apply();
		await uci.load();
		await form.last.redraw();
		await shown.update();
	}));
	document.body.classList.add('ready');
}

start();
