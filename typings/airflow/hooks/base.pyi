# Where Airflow 3.0 has this class.
from airflow.sdk import BaseHook as BaseHook
