"""Makes users with a token each, and the description of the request."""

import os
from pathlib import Path

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402 (models exist after setup only)
from django.db import transaction  # noqa: E402
from knox.models import AuthToken  # noqa: E402

work = Path(os.environ["WORK"])
with transaction.atomic():
    users = User.objects.bulk_create(
        User(username=f"user{number}", password="!") for number in range(int(os.environ["TOKENS"]))
    )
    tokens = [AuthToken.objects.create(user)[1] for user in users]
(work / "tokens.txt").write_text("".join(f"{token}\n" for token in tokens))
(work / "request").write_text('method GET\npath /verify\nheader Authorization: Token @\nexpect "user":"user\n')
