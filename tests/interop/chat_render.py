"""Renders conversations with chat templates as transformers does.

stdin:  {"templates": {name: text}, "chats": [{"template": name, "messages": [...], "add_generation_prompt": bool, "bos_token", "eos_token"}]}
stdout: [text, or null where the template refuses, ...]
"""

import json
import sys

from transformers.utils.chat_template_utils import _compile_jinja_template

DAY = {"date_string": "26 Jul 2024"}

asked = json.load(sys.stdin)
compiled = {name: _compile_jinja_template(text) for name, text in asked["templates"].items()}
texts = []
for chat in asked["chats"]:
    template = compiled[chat.pop("template")]
    try:
        texts.append(template.render(**chat, **DAY, tools=None, documents=None))
    except Exception:
        texts.append(None)
json.dump(texts, sys.stdout)
