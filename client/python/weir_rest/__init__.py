"""weir's REST API: a class for each body (models), a method for each operation (api).

    client = ApiClient(Configuration(host="http://127.0.0.1:8080"))
    job = JobsApi(client).enqueue_job(NewJob(kind="send_receipt", args={"order": 42}))
"""

from .api import *  # noqa: F403
from .client import ApiClient, ApiException, Configuration, RestClient
from .codec import UNSET, Unset, from_json, to_json
from .models import *  # noqa: F403
